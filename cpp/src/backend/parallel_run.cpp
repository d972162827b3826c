#include "backend/parallel_run.h"

#include <algorithm>
#include <cstddef>

namespace edgemoe {

namespace {

constexpr size_t kMetadataBytes = 16 * 1024;  // a graph of one node

struct Call {
    ParallelRun::Work work;
    void * data;
};

void node(ggml_tensor *, int thread, int, void * data) {
    const Call & call = *static_cast<Call *>(data);
    call.work(call.data, thread);
}

}  // namespace

ParallelRun::ParallelRun() : metadata_(kMetadataBytes) {}

void ParallelRun::run(ggml_threadpool_t pool, int n_threads, Work work, void * data) {
    Call call{work, data};
    ggml_context * context = ggml_init({metadata_.size(), metadata_.data(), true});
    ggml_tensor * custom = ggml_custom_4d(context, GGML_TYPE_I8, 1, 1, 1, 1, nullptr, 0, node, GGML_N_TASKS_MAX, &call);
    int8_t nothing = 0;
    custom->data = &nothing;
    ggml_cgraph * graph = ggml_new_graph_custom(context, 1, false);
    ggml_build_forward_expand(graph, custom);
    ggml_cplan plan = ggml_graph_plan(graph, n_threads, pool);
    plan_work_.resize(std::max(plan_work_.size(), plan.work_size));
    plan.work_data = plan_work_.data();
    ggml_graph_compute(graph, &plan);
    ggml_free(context);
}

}  // namespace edgemoe
