#include "backend/row_activation.h"

#include <cstring>

namespace edgemoe {

namespace {

void * row(const ggml_tensor * tensor, int64_t slot, int64_t token) {
    return static_cast<char *>(tensor->data) + static_cast<size_t>(slot) * tensor->nb[1] +
           static_cast<size_t>(token) * tensor->nb[2];
}

}  // namespace

bool RowActivation::takes(const ggml_tensor * node) {
    if (node->op != GGML_OP_GLU || node->src[1] == nullptr) {
        return false;
    }
    const ggml_tensor * const tensors[] = {node->src[0], node->src[1], node};
    for (const ggml_tensor * tensor : tensors) {
        if (tensor->type != GGML_TYPE_F32 || tensor->nb[0] != sizeof(float) || tensor->ne[3] != 1) {
            return false;
        }
    }
    return ggml_are_same_shape(node->src[0], node) && ggml_are_same_shape(node->src[1], node);
}

void RowActivation::apply(const ggml_tensor * node, int64_t slot, int64_t token) {
    ggml_context * context = graph_.begin();
    ggml_tensor * gate = ggml_new_tensor_1d(context, GGML_TYPE_F32, node->ne[0]);
    ggml_tensor * up = ggml_new_tensor_1d(context, GGML_TYPE_F32, node->ne[0]);
    ggml_tensor * result = ggml_glu_split(context, gate, up, ggml_get_glu_op(node));
    std::memcpy(result->op_params, node->op_params, sizeof(result->op_params));
    gate->data = row(node->src[0], slot, token);
    up->data = row(node->src[1], slot, token);
    result->data = row(node, slot, token);
    graph_.compute(result);
}

}  // namespace edgemoe
