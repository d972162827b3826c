#include "backend/graph_compute.h"

#include "backend/expert_buffer_type.h"

#include "ggml-impl.h"

#include <new>
#include <vector>

namespace edgemoe {

namespace {

// True if `node` reads what one of `nodes` writes, so that it has to wait for it.
bool depends_on(const ggml_tensor * node, const std::vector<ggml_tensor *> & nodes) {
    for (const ggml_tensor * source : {node->src[1], node->src[2]}) {
        if (source == nullptr) {
            continue;
        }
        const ggml_tensor * origin = source->view_src != nullptr ? source->view_src : source;
        for (const ggml_tensor * earlier : nodes) {
            if (origin == earlier) {
                return true;
            }
        }
    }
    return false;
}

int32_t layer_of(const ggml_tensor * node) {
    int32_t layer = -1;
    Projection projection = Projection::kGate;
    parse_expert_tensor_name(node->src[0]->name, &layer, &projection);
    return layer;
}

// Products that are computed together: of the same experts (gate and up: their matrices are asked for at once), or of
// hot weights (query, key and value).
bool belongs_to(const ggml_tensor * node, const std::vector<ggml_tensor *> & group) {
    const ggml_tensor * first = group.front();
    if (node->op != first->op || depends_on(node, group)) {
        return false;
    }
    return node->op == GGML_OP_MUL_MAT ||
           (expert_buffer_type_of(node->src[0]) == expert_buffer_type_of(first->src[0]) &&
            node->src[2] == first->src[2] && layer_of(node) == layer_of(first));
}

}  // namespace

Status GraphComputer::compute_group(const std::vector<ggml_tensor *> & group) {
    if (group.front()->op == GGML_OP_MUL_MAT) {
        hot_matmul_.compute(group, n_threads_);
        return Status::ok();
    }
    return expert_matmul_.compute(*expert_buffer_type_of(group.front()->src[0]), group, n_threads_);
}

ggml_status GraphComputer::compute(ggml_cgraph * graph) {
    std::vector<ggml_tensor *> group;
    ExpertBufferType * streamed = nullptr;  // told about failures
    try {
        for (int i = 0; i <= graph->n_nodes; i++) {
            ggml_tensor * node = i < graph->n_nodes ? graph->nodes[i] : nullptr;
            if (node != nullptr && ((node->op != GGML_OP_MUL_MAT_ID && node->op != GGML_OP_MUL_MAT) ||
                                    (node->flags & GGML_TENSOR_FLAG_COMPUTE) == 0)) {
                continue;  // views and the like: the scheduler gives us no other work
            }
            if (!group.empty() && (node == nullptr || !belongs_to(node, group))) {
                const Status status = compute_group(group);
                group.clear();
                if (!status.is_ok()) {
                    streamed->set_failure(status);
                    return GGML_STATUS_FAILED;
                }
            }
            if (node != nullptr) {
                if (ExpertBufferType * type = expert_buffer_type_of(node->src[0])) {
                    streamed = type;
                }
                group.push_back(node);
            }
        }
    } catch (const std::bad_alloc &) {
        if (streamed != nullptr) {
            streamed->set_failure(Status(StatusCode::kOutOfBudget,
                                         "out of memory while multiplying; lower the memory figure or n_ubatch"));
        }
        return GGML_STATUS_ALLOC_FAILED;
    }
    return GGML_STATUS_SUCCESS;
}

}  // namespace edgemoe
