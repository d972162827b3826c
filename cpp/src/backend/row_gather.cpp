#include "backend/row_gather.h"

#include <algorithm>
#include <cstring>

namespace edgemoe {

namespace {

constexpr size_t kMetadataBytes = 16 * 1024;  // a table of one row, its number, one node and a graph of it

// The result of the i-th row number, counted along the first dimension first.
char * result_row(const ggml_tensor * node, size_t i) {
    const auto n = static_cast<int64_t>(i);
    const ggml_tensor * numbers = node->src[1];
    const int64_t i0 = n % numbers->ne[0];
    const int64_t i1 = n / numbers->ne[0] % numbers->ne[1];
    const int64_t i2 = n / numbers->ne[0] / numbers->ne[1];
    return static_cast<char *>(node->data) + static_cast<size_t>(i0) * node->nb[1] +
           static_cast<size_t>(i1) * node->nb[2] + static_cast<size_t>(i2) * node->nb[3];
}

std::vector<int32_t> row_numbers(const ggml_tensor * numbers) {
    std::vector<int32_t> rows;
    rows.reserve(static_cast<size_t>(ggml_nelements(numbers)));
    for (int64_t i2 = 0; i2 < numbers->ne[2]; i2++) {
        for (int64_t i1 = 0; i1 < numbers->ne[1]; i1++) {
            for (int64_t i0 = 0; i0 < numbers->ne[0]; i0++) {
                const char * at = static_cast<const char *>(numbers->data) + static_cast<size_t>(i0) * numbers->nb[0] +
                                  static_cast<size_t>(i1) * numbers->nb[1] + static_cast<size_t>(i2) * numbers->nb[2];
                rows.push_back(*reinterpret_cast<const int32_t *>(at));
            }
        }
    }
    return rows;
}

}  // namespace

RowGather::RowGather() : metadata_(kMetadataBytes) {
    ggml_threadpool_params params = ggml_threadpool_params_default(1);
    pool_.reset(ggml_threadpool_new(&params));
}
RowGather::~RowGather() = default;

bool RowGather::supports(const ggml_tensor * node) {
    return node->op == GGML_OP_GET_ROWS && ggml_n_dims(node->src[0]) <= 2 && node->src[1]->type == GGML_TYPE_I32 &&
           node->type == GGML_TYPE_F32;
}

Status RowGather::compute(RowTable & table, ggml_tensor * node) {
    const size_t row_bytes = static_cast<size_t>(node->ne[0]) * sizeof(float);
    return table.visit(row_numbers(node->src[1]), [&](const std::vector<size_t> & places, const std::byte * row) {
        char * first = result_row(node, places.front());
        convert(*node->src[0], row, first);
        for (size_t i = 1; i < places.size(); i++) {
            std::memcpy(result_row(node, places[i]), first, row_bytes);
        }
    });
}

void RowGather::convert(const ggml_tensor & table, const std::byte * row, char * destination) {
    ggml_context * context = ggml_init({metadata_.size(), metadata_.data(), true});
    ggml_tensor * rows = ggml_new_tensor_2d(context, table.type, table.ne[0], 1);
    ggml_tensor * numbers = ggml_new_tensor_1d(context, GGML_TYPE_I32, 1);
    ggml_tensor * result = ggml_get_rows(context, rows, numbers);
    int32_t zero = 0;
    rows->data = const_cast<std::byte *>(row);  // ggml's tensors have no const; nothing writes through it
    numbers->data = &zero;
    result->data = destination;
    ggml_cgraph * graph = ggml_new_graph_custom(context, 1, false);
    ggml_graph_add_node(graph, result);
    result->flags |= GGML_TENSOR_FLAG_COMPUTE;
    ggml_cplan plan = ggml_graph_plan(graph, 1, pool_.get());
    work_.resize(std::max(work_.size(), plan.work_size));
    plan.work_data = work_.data();
    ggml_graph_compute(graph, &plan);
    ggml_free(context);
}

}  // namespace edgemoe
