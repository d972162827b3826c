#include "backend/graph_compute.h"

#include "backend/expert_buffer_type.h"

#include "ggml-impl.h"

#include <new>
#include <string>
#include <vector>

namespace edgemoe {

namespace {

constexpr int64_t kMostFusedTokens = 3;

// True if `node` reads what one of `nodes` writes, so that it has to wait for it.
bool depends_on(const ggml_tensor * node, const std::vector<ggml_tensor *> & nodes) {
    for (const ggml_tensor * source : {node->src[0], node->src[1], node->src[2]}) {
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

ggml_status give_up(ExpertBufferType & type, const Status & status) {
    type.set_failure(status);
    return status.code() == StatusCode::kCancelled ? GGML_STATUS_ABORTED : GGML_STATUS_FAILED;
}

int32_t layer_of(const ggml_tensor * node) {
    int32_t layer = -1;
    Projection projection = Projection::kGate;
    parse_expert_tensor_name(node->src[0]->name, &layer, &projection);
    return layer;
}

bool is_product_of_experts(const ggml_tensor * node) {
    return node->op == GGML_OP_MUL_MAT_ID && expert_buffer_type_of(node->src[0]) != nullptr;
}

// True if the node at `i` may join `group`: query, key and value, or gate and up, whose matrices are asked for at once.
bool joins(const ggml_tensor * node, const std::vector<ggml_tensor *> & group) {
    const ggml_tensor * first = group.front();
    if (node->op != first->op || depends_on(node, group)) {
        return false;
    }
    return node->op == GGML_OP_MUL_MAT ||
           (expert_buffer_type_of(node->src[0]) == expert_buffer_type_of(first->src[0]) &&
            node->src[2] == first->src[2] && layer_of(node) == layer_of(first));
}

// What is left of a graph when views and the like, which are no work, are left out.
std::vector<ggml_tensor *> work_of(ggml_cgraph * graph) {
    std::vector<ggml_tensor *> nodes;
    for (int i = 0; i < graph->n_nodes; i++) {
        ggml_tensor * node = graph->nodes[i];
        if ((node->flags & GGML_TENSOR_FLAG_COMPUTE) != 0 &&
            (node->op == GGML_OP_MUL_MAT_ID || node->op == GGML_OP_MUL_MAT || node->op == GGML_OP_GLU ||
             node->op == GGML_OP_GET_ROWS)) {
            nodes.push_back(node);
        }
    }
    return nodes;
}

}  // namespace

bool GraphComputer::takes(const ggml_tensor * node) {
    switch (node->op) {
        case GGML_OP_MUL_MAT_ID:
            return is_product_of_experts(node) && node->src[1]->type == GGML_TYPE_F32;
        case GGML_OP_MUL_MAT:
            return HotMatmul::takes(node);
        case GGML_OP_GET_ROWS:
            return expert_buffer_type_of(node->src[0]) != nullptr && RowGather::supports(node);
        case GGML_OP_GLU:
            // For many tokens the activation is as fast as a node of its own, and down_ would be large.
            return node->src[1] != nullptr && is_product_of_experts(node->src[0]) &&
                   is_product_of_experts(node->src[1]) && node->ne[2] <= kMostFusedTokens && RowActivation::takes(node);
        default:
            return false;
    }
}

// An activation that is not followed by the product that it is for: the scheduler may have cut the graph between them.
void GraphComputer::activate(const ggml_tensor * node) {
    for (int64_t token = 0; token < node->ne[2]; token++) {
        for (int64_t slot = 0; slot < node->ne[1]; slot++) {
            activation_.apply(node, slot, token);
        }
    }
}

Status GraphComputer::gather_rows(ggml_tensor * node) {
    const char * name = node->src[0]->name;
    RowTable * table = expert_buffer_type_of(node->src[0])->row_table(name);
    if (table == nullptr) {
        return Status(StatusCode::kInternal, std::string(name) + ": is not a table on flash");
    }
    const Status status = gather_.compute(*table, node);
    return status.is_ok() ? status : Status(status.code(), status.message() + " (tensor " + name + ")");
}

// Computes the nodes from `i` on that belong together; *i is then the next one.
Status GraphComputer::compute_some(const std::vector<ggml_tensor *> & nodes, size_t * i) {
    if (nodes[*i]->op == GGML_OP_GLU) {
        activate(nodes[(*i)++]);
        return Status::ok();
    }
    if (nodes[*i]->op == GGML_OP_GET_ROWS) {
        return gather_rows(nodes[(*i)++]);
    }
    ExpertGroup group;
    do {
        group.products.push_back(nodes[(*i)++]);
    } while (*i < nodes.size() && joins(nodes[*i], group.products));
    if (group.products.front()->op == GGML_OP_MUL_MAT) {
        hot_matmul_.compute(group.products, n_threads_);
        return Status::ok();
    }
    if (*i + 1 < nodes.size() && nodes[*i]->op == GGML_OP_GLU && group.products.size() == 2 &&
        depends_on(nodes[*i], {group.products[0]}) && depends_on(nodes[*i], {group.products[1]})) {
        ggml_tensor * down = nodes[*i + 1];
        const ggml_tensor * first = group.products.front();
        if (is_product_of_experts(down) && down->src[1] == nodes[*i] && down->src[2] == first->src[2] &&
            expert_buffer_type_of(down->src[0]) == expert_buffer_type_of(first->src[0]) &&
            layer_of(down) == layer_of(first)) {
            group.activation = nodes[*i];
            group.down = down;
            *i += 2;
        }
    }
    return expert_matmul_.compute(*expert_buffer_type_of(group.products.front()->src[0]), group, n_threads_);
}

ggml_status GraphComputer::compute(ggml_cgraph * graph) {
    ExpertBufferType * streamed = nullptr;  // told about failures
    try {
        const std::vector<ggml_tensor *> nodes = work_of(graph);
        for (size_t i = 0; i < nodes.size();) {
            if (ExpertBufferType * type = expert_buffer_type_of(nodes[i]->src[0])) {
                streamed = type;
            }
            const Status status = compute_some(nodes, &i);
            if (!status.is_ok()) {
                return give_up(*streamed, status);
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
