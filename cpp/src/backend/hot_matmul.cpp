#include "backend/hot_matmul.h"

#include "backend/hot_buffer.h"
#include "store/expert_store.h"

#include <algorithm>
#include <atomic>
#include <new>

namespace edgemoe {

namespace {

constexpr int64_t kMostInputs = 3;  // from 4 on ggml multiplies several at once
// Smaller matrices stay in a cache by themselves, and what they take is less than what it costs to hand the graph over
// to another backend and back.
constexpr size_t kLeastBytes = 256 * 1024;

// Rows of a matrix that is interleaved or not, as a matrix of their own.
ggml_tensor rows_of(const ggml_tensor & matrix, int64_t first_row, int64_t n_rows) {
    ggml_tensor rows = matrix;
    rows.ne[1] = n_rows;
    rows.nb[2] = rows.nb[3] = rows.nb[1] * static_cast<size_t>(n_rows);
    rows.data = static_cast<char *>(matrix.data) + static_cast<size_t>(first_row) * matrix.nb[1];
    return rows;
}

}  // namespace

struct HotMatmul::Job {
    struct Unit {
        ggml_tensor * node;
        int64_t first_row;
        int64_t n_rows;
    };

    std::vector<Unit> units;
    std::atomic<size_t> next{0};
    std::atomic<bool> out_of_memory{false};
    std::vector<std::unique_ptr<RowProduct>> * products = nullptr;

    void work(RowProduct & product) {
        std::vector<RowProductVector> vectors;
        for (size_t i = next.fetch_add(1); i < units.size(); i = next.fetch_add(1)) {
            const Unit & unit = units[i];
            const ggml_tensor & input = *unit.node->src[1];
            vectors.clear();
            for (int64_t n = 0; n < input.ne[1]; n++) {
                vectors.push_back({static_cast<const char *>(input.data) + static_cast<size_t>(n) * input.nb[1],
                                   static_cast<char *>(unit.node->data) + static_cast<size_t>(n) * unit.node->nb[1] +
                                       static_cast<size_t>(unit.first_row) * sizeof(float)});
            }
            product.multiply(rows_of(*unit.node->src[0], unit.first_row, unit.n_rows), vectors,
                             RowProductKernel::kBatch, unit.node->op_params);
        }
    }
};

bool HotMatmul::takes(const ggml_tensor * node) {
    if (node->op != GGML_OP_MUL_MAT || hot_buffer_of(node->src[0]) == nullptr) {
        return false;
    }
    const ggml_tensor & matrix = *node->src[0];
    const ggml_tensor & input = *node->src[1];
    return ggml_is_quantized(matrix.type) && matrix.view_src == nullptr && ggml_is_contiguous(&matrix) &&
           ggml_is_matrix(&matrix) && ggml_nbytes(&matrix) >= kLeastBytes && matrix.ne[1] % kRowGroup == 0 &&
           input.type == GGML_TYPE_F32 && ggml_is_matrix(&input) && input.nb[0] == sizeof(float) &&
           input.ne[1] <= kMostInputs && node->type == GGML_TYPE_F32;
}

void HotMatmul::compute(const std::vector<ggml_tensor *> & nodes, int n_threads) {
    Job job;
    for (ggml_tensor * node : nodes) {
        const ggml_tensor & matrix = *node->src[0];
        const int64_t stretch = RowProduct::kStretchBytes / static_cast<int64_t>(matrix.nb[1]);
        const int64_t share = matrix.ne[1] / n_threads;
        const int64_t step = std::max<int64_t>(1, std::min(stretch, share) / kRowGroup) * kRowGroup;
        for (int64_t row = 0; row < matrix.ne[1]; row += step) {
            job.units.push_back({node, row, std::min(step, matrix.ne[1] - row)});
        }
    }
    while (products_.size() < static_cast<size_t>(n_threads)) {
        products_.push_back(std::make_unique<RowProduct>());
    }
    job.products = &products_;
    const auto work = [](void * data, int thread) {
        Job & shared = *static_cast<Job *>(data);
        try {
            shared.work(*(*shared.products)[static_cast<size_t>(thread)]);
        } catch (const std::bad_alloc &) {
            shared.out_of_memory.store(true);
        }
    };
    parallel_.run(hot_buffer_of(nodes.front()->src[0])->threads(), n_threads, work, &job);
    if (job.out_of_memory.load()) {
        throw std::bad_alloc();
    }
}

}  // namespace edgemoe
