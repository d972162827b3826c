#include "backend/thread_graph.h"

#include <algorithm>
#include <cstddef>

namespace edgemoe {

namespace {

constexpr size_t kMetadataBytes = 16 * 1024;  // one node, its sources and a graph of one node

}  // namespace

ThreadGraph::ThreadGraph() : metadata_(kMetadataBytes) {
    ggml_threadpool_params params = ggml_threadpool_params_default(1);
    pool_.reset(ggml_threadpool_new(&params));
}

ggml_context * ThreadGraph::begin() {
    context_.reset();  // before its memory is used again
    context_.reset(ggml_init({metadata_.size(), metadata_.data(), true}));
    return context_.get();
}

void ThreadGraph::compute(ggml_tensor * node) {
    ggml_cgraph * graph = ggml_new_graph_custom(context_.get(), 1, false);
    ggml_graph_add_node(graph, node);
    node->flags |= GGML_TENSOR_FLAG_COMPUTE;
    ggml_cplan plan = ggml_graph_plan(graph, 1, pool_.get());
    work_.resize(std::max(work_.size(), plan.work_size));
    plan.work_data = work_.data();
    ggml_graph_compute(graph, &plan);
    context_.reset();
}

}  // namespace edgemoe
