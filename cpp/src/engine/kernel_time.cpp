#include "engine/kernel_time.h"

#include "engine/llama_handles.h"
#include "rounding/round_matrix.h"

#include "ggml-cpu.h"
#include "ggml.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <random>
#include <string>

namespace edgemoe {

namespace {

constexpr size_t kWeightBytes = size_t{8} << 20;  // more than a core's own caches hold
constexpr int kRuns = 5;

struct GgmlContextDeleter {
    void operator()(ggml_context * context) const { ggml_free(context); }
};

}  // namespace

Result<double> kernel_ns_per_weight(int32_t type, int64_t columns, int64_t rows) {
    const auto kind = static_cast<ggml_type>(type);
    if (columns % ggml_blck_size(kind) != 0 || ggml_get_type_traits_cpu(kind)->vec_dot == nullptr) {
        return Status(StatusCode::kUnsupported, std::string("experts ") + std::to_string(columns) +
                                                    " wide cannot be multiplied in type " + ggml_type_name(kind));
    }
    // A few rounded rows, repeated: what the weights are does not change the time.
    constexpr int64_t kDistinctRows = 8;
    std::mt19937 random(1);
    std::normal_distribution<float> normal;
    std::vector<float> values(static_cast<size_t>(kDistinctRows * columns));
    std::generate(values.begin(), values.end(), [&] { return normal(random); });
    const std::vector<float> importance(static_cast<size_t>(columns), 1.0F);
    const size_t row_bytes = ggml_row_size(kind, columns);
    std::vector<std::byte> blocks(kDistinctRows * row_bytes);
    Status status =
        round_matrix(type, values.data(), kDistinctRows, columns, importance.data(), nullptr, 1, blocks.data());
    if (!status.is_ok()) {
        return status;
    }
    const size_t matrix_bytes = row_bytes * static_cast<size_t>(rows);
    const auto n_experts = static_cast<int64_t>(std::max<size_t>(1, kWeightBytes / matrix_bytes));

    std::vector<std::byte> weights(matrix_bytes * static_cast<size_t>(n_experts));
    for (size_t offset = 0; offset < weights.size(); offset += row_bytes) {
        std::memcpy(weights.data() + offset, blocks.data() + offset % blocks.size(), row_bytes);
    }
    const size_t memory = ggml_tensor_overhead() * 8 + ggml_graph_overhead() +
                          static_cast<size_t>(columns + rows * n_experts + n_experts) * sizeof(float) + 4096;
    const std::unique_ptr<ggml_context, GgmlContextDeleter> context(ggml_init({memory, nullptr, false}));
    if (context == nullptr) {
        return Status(StatusCode::kOutOfBudget, "out of memory");
    }
    ggml_tensor * input = ggml_new_tensor_3d(context.get(), GGML_TYPE_F32, columns, 1, 1);
    ggml_tensor * ids = ggml_new_tensor_2d(context.get(), GGML_TYPE_I32, n_experts, 1);
    std::copy_n(values.begin(), columns, static_cast<float *>(input->data));
    for (int64_t i = 0; i < n_experts; i++) {
        static_cast<int32_t *>(ids->data)[i] = static_cast<int32_t>(i);
    }
    ggml_set_no_alloc(context.get(), true);
    ggml_tensor * experts = ggml_new_tensor_3d(context.get(), kind, columns, rows, n_experts);
    ggml_set_no_alloc(context.get(), false);
    experts->data = weights.data();
    ggml_cgraph * graph = ggml_new_graph(context.get());
    ggml_build_forward_expand(graph, ggml_mul_mat_id(context.get(), experts, input, ids));

    ggml_threadpool_params pool_params = ggml_threadpool_params_default(1);
    const GgmlThreadPool pool(ggml_threadpool_new(&pool_params));
    ggml_cplan plan = ggml_graph_plan(graph, 1, pool.get());
    std::vector<uint8_t> scratch(plan.work_size);
    plan.work_data = scratch.data();
    double best_ns = 0;
    for (int run = 0; run < kRuns; run++) {
        const auto begin = std::chrono::steady_clock::now();
        ggml_graph_compute(graph, &plan);
        const std::chrono::duration<double, std::nano> elapsed = std::chrono::steady_clock::now() - begin;
        best_ns = run == 0 ? elapsed.count() : std::min(best_ns, elapsed.count());
    }
    return best_ns / static_cast<double>(columns * rows * n_experts);
}

}  // namespace edgemoe
