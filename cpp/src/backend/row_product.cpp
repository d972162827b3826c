#include "backend/row_product.h"

#include <algorithm>
#include <cstddef>
#include <cstring>

namespace edgemoe {

namespace {

constexpr size_t kMostFetchedBytes = 1024 * 1024;
constexpr int64_t kLineBytes = 64;

// Into the second-level cache: the first is smaller than a stretch.
void fetch(const void * data, size_t bytes) {
    const auto * line = static_cast<const char *>(data);
    for (const char * end = line + bytes; line < end; line += kLineBytes) {
        __builtin_prefetch(line, 0, 2);
    }
}

}  // namespace

void RowProduct::multiply(const ggml_tensor & weights, const std::vector<RowProductVector> & vectors,
                          RowProductKernel kernel, const int32_t * op_params) {
    const auto n = static_cast<int64_t>(vectors.size());
    const int64_t columns = weights.ne[0];
    const size_t input_bytes = static_cast<size_t>(columns) * sizeof(float);
    const size_t output_bytes = static_cast<size_t>(weights.ne[1]) * sizeof(float);
    fetch(weights.data, std::min(ggml_nbytes(&weights), kMostFetchedBytes));

    ggml_context * context = graph_.begin();
    ggml_tensor matrix = weights;
    ggml_tensor * product = nullptr;
    ggml_tensor * input = nullptr;
    if (kernel == RowProductKernel::kBatch) {
        input = ggml_new_tensor_2d(context, GGML_TYPE_F32, columns, n);
        product = ggml_mul_mat(context, &matrix, input);
    } else {
        input = ggml_new_tensor_3d(context, GGML_TYPE_F32, columns, 1, n);
        ggml_tensor * ids = ggml_new_tensor_2d(context, GGML_TYPE_I32, 1, n);
        zeros_.resize(std::max(zeros_.size(), static_cast<size_t>(n)), 0);
        ids->data = zeros_.data();
        product = ggml_mul_mat_id(context, &matrix, input, ids);
    }
    std::memcpy(product->op_params, op_params, sizeof(product->op_params));
    if (n == 1) {
        input->data = const_cast<void *>(vectors[0].input);  // ggml's tensors have no const; nothing writes to a source
        product->data = vectors[0].output;
    } else {
        inputs_.resize(std::max(inputs_.size(), input_bytes * static_cast<size_t>(n)));
        outputs_.resize(std::max(outputs_.size(), output_bytes * static_cast<size_t>(n)));
        for (size_t i = 0; i < vectors.size(); i++) {
            std::memcpy(inputs_.data() + i * input_bytes, vectors[i].input, input_bytes);
        }
        input->data = inputs_.data();
        product->data = outputs_.data();
    }

    graph_.compute(product);

    if (n > 1) {
        for (size_t i = 0; i < vectors.size(); i++) {
            std::memcpy(vectors[i].output, outputs_.data() + i * output_bytes, output_bytes);
        }
    }
}

uint64_t RowProduct::scratch_bytes(int64_t columns, int64_t n_rows, int64_t n) {
    // Gathered inputs, their quantized copy, and products.
    return static_cast<uint64_t>(columns * 6 + n_rows * 4) * static_cast<uint64_t>(n);
}

bool batch_kernel_is_exact(const ggml_tensor & weights_shape) {
    constexpr int64_t kRows = 64;
    constexpr int64_t kInputs = 7;  // a group of four and a rest
    const int64_t columns = weights_shape.ne[0];
    uint32_t state = 1;
    const auto random = [&state] {
        state = state * 1664525u + 1013904223u;
        return static_cast<float>(state >> 8) / static_cast<float>(1 << 24) - 0.5f;
    };
    std::vector<float> numbers(static_cast<size_t>(columns * kRows));
    std::generate(numbers.begin(), numbers.end(), random);
    std::vector<float> importance(static_cast<size_t>(columns), 1.0f);
    std::vector<std::byte> rows(ggml_row_size(weights_shape.type, columns) * kRows);
    std::vector<std::byte> laid_out(rows.size());
    ggml_quantize_chunk(weights_shape.type, numbers.data(), rows.data(), 0, kRows, columns, importance.data());

    ggml_tensor matrix = weights_shape;
    matrix.ne[1] = kRows;
    matrix.nb[2] = matrix.nb[3] = rows.size();
    matrix.data = laid_out.data();
    ggml_backend_tensor_set(&matrix, rows.data(), 0, rows.size());

    std::vector<float> inputs(static_cast<size_t>(columns * kInputs));
    std::generate(inputs.begin(), inputs.end(), random);
    std::vector<float> one_by_one(kRows * kInputs);
    std::vector<float> batch(kRows * kInputs);
    const auto multiply = [&](RowProductKernel kernel, std::vector<float> & outputs) {
        std::vector<RowProductVector> vectors;
        for (int64_t i = 0; i < kInputs; i++) {
            vectors.push_back({inputs.data() + i * columns, outputs.data() + i * kRows});
        }
        const int32_t op_params[GGML_MAX_OP_PARAMS / sizeof(int32_t)] = {};
        RowProduct().multiply(matrix, vectors, kernel, op_params);
    };
    multiply(RowProductKernel::kOneByOne, one_by_one);
    multiply(RowProductKernel::kBatch, batch);
    return std::memcmp(one_by_one.data(), batch.data(), batch.size() * sizeof(float)) == 0;
}

}  // namespace edgemoe
