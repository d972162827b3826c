#include "engine/trace_replay.h"

#include "engine/gguf_source.h"
#include "store/slot_sizes.h"

namespace edgemoe {
namespace {

// Gives `trace` the shape and sizes of the model's experts.
Status take_sizes(const std::string & trace_path, const std::string & model_path, RoutingTrace * trace) {
    const Result<std::unique_ptr<GgufSource>> source = GgufSource::open(model_path, false);
    if (!source.is_ok()) {
        return source.status();
    }
    const ExpertIndex & index = source.value()->experts();
    for (const TraceStep & step : trace->steps) {
        for (const TraceLayer & layer : step.layers) {
            for (const int32_t expert : layer.experts) {
                if (index.find({layer.layer, expert}) == nullptr) {
                    return {StatusCode::kInvalidArgument, trace_path + ": names expert " + std::to_string(expert) +
                                                              " of layer " + std::to_string(layer.layer) + ", which " +
                                                              model_path +
                                                              " does not have; was it recorded with another model?"};
                }
            }
        }
    }
    trace->shape = policy_shape(index);
    trace->sizes = slot_sizes(index);
    return Status::ok();
}

}  // namespace

Result<TraceReplay> replay_trace(const std::string & path, const ReplayOptions & options) {
    Result<RoutingTrace> trace = read_trace_file(path, options.expert_bytes);
    if (!trace.is_ok()) {
        return trace.status();
    }
    TraceReplay replayed{std::move(trace).value(), {}};
    if (!options.model.empty()) {
        const Status status = take_sizes(path, options.model, &replayed.trace);
        if (!status.is_ok()) {
            return status;
        }
    }
    Result<std::vector<ComparisonRow>> rows = compare_policies(replayed.trace, options.comparison);
    if (!rows.is_ok()) {
        return rows.status();
    }
    replayed.rows = std::move(rows).value();
    return replayed;
}

}  // namespace edgemoe
