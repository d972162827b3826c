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

}  // namespace

ggml_status GraphComputer::compute(ggml_cgraph * graph) {
    // Products of the same experts (gate and up) are computed together: their matrices are asked for at once.
    std::vector<ggml_tensor *> group;
    ExpertBufferType * type = nullptr;
    try {
        auto flush = [&]() -> Status {
            if (group.empty()) {
                return Status::ok();
            }
            Status status = matmul_.compute(*type, group, n_threads_);
            group.clear();
            return status;
        };
        for (int i = 0; i < graph->n_nodes; i++) {
            ggml_tensor * node = graph->nodes[i];
            if (node->op != GGML_OP_MUL_MAT_ID || (node->flags & GGML_TENSOR_FLAG_COMPUTE) == 0) {
                continue;  // views and the like: the scheduler gives us no other work
            }
            ExpertBufferType * node_type = expert_buffer_type_of(node->src[0]);
            if (!group.empty() && (node_type != type || node->src[2] != group.front()->src[2] ||
                                   layer_of(node) != layer_of(group.front()) || depends_on(node, group))) {
                Status status = flush();
                if (!status.is_ok()) {
                    type->set_failure(status);
                    return GGML_STATUS_FAILED;
                }
            }
            type = node_type;
            group.push_back(node);
        }
        Status status = flush();
        if (!status.is_ok()) {
            type->set_failure(status);
            return GGML_STATUS_FAILED;
        }
    } catch (const std::bad_alloc &) {
        if (type != nullptr) {
            type->set_failure(Status(StatusCode::kOutOfBudget,
                                     "out of memory while multiplying experts; lower the memory figure or n_ubatch"));
        }
        return GGML_STATUS_ALLOC_FAILED;
    }
    return GGML_STATUS_SUCCESS;
}

}  // namespace edgemoe
