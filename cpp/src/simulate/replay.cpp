// Invariant: outside of serve_layer nothing is pinned.
#include "simulate/replay.h"

#include "cache/expert_cache.h"

#include <utility>

namespace edgemoe {
namespace {

class Replay {
public:
    Replay(uint64_t budget_bytes, std::unique_ptr<EvictionPolicy> policy) : cache_(budget_bytes, std::move(policy)) {}

    ReplayResult run(const RoutingTrace & trace) {
        ReplayResult decode;
        PolicyTime now;
        for (const TraceStep & step : trace.steps) {
            ReplayResult prompt;
            ReplayResult & counted = step.phase == TracePhase::kDecode ? decode : prompt;
            counted.decode_tokens += 1;
            for (const TraceLayer & layer : step.layers) {
                now.layer = layer.layer;
                serve_layer(layer, trace.sizes, now, &counted);
            }
            ++now.step;
        }
        return decode;
    }

private:
    void serve_layer(const TraceLayer & layer, const ExpertSizes & sizes, PolicyTime now, ReplayResult * counted) {
        for (size_t place = 0; place < layer.experts.size(); ++place) {
            cache_.record_use({layer.layer, layer.experts[place]}, now, layer.use(place));
        }
        absent_.clear();
        for (const int32_t expert : layer.experts) {
            const ExpertId id{layer.layer, expert};
            if (cache_.contains(id)) {
                pin(id);
            } else {
                absent_.push_back(id);
            }
        }
        counted->requests += layer.experts.size();
        counted->hits += pinned_.size();
        for (const ExpertId id : absent_) {
            const uint64_t bytes = sizes.of(id);
            counted->missed_bytes += bytes;
            evicted_.clear();
            bool inserted = cache_.insert(id, bytes, now, &evicted_);
            if (!inserted) {
                unpin_all();
                inserted = cache_.insert(id, bytes, now, &evicted_);
            }
            counted->evictions += evicted_.size();
            if (inserted) {
                pin(id);
            }
        }
        unpin_all();
    }

    void pin(ExpertId id) {
        cache_.pin(id);
        pinned_.push_back(id);
    }

    void unpin_all() {
        for (const ExpertId id : pinned_) {
            cache_.unpin(id);
        }
        pinned_.clear();
    }

    ExpertCache cache_;
    std::vector<ExpertId> pinned_;
    std::vector<ExpertId> absent_;
    std::vector<ExpertId> evicted_;
};

}  // namespace

Result<ReplayResult> replay(const RoutingTrace & trace, const std::string & policy_name, uint64_t budget_bytes) {
    std::unique_ptr<EvictionPolicy> policy = make_eviction_policy(policy_name, trace.shape);
    if (policy == nullptr) {
        std::string known;
        for (const std::string & name : eviction_policy_names()) {
            known += known.empty() ? name : ", " + name;
        }
        return Status(StatusCode::kInvalidArgument,
                      "eviction policy '" + policy_name + "' is unknown; choose one of " + known);
    }
    return Replay(budget_bytes, std::move(policy)).run(trace);
}

BeladyResult replay_belady(const RoutingTrace & trace, uint64_t budget_bytes) {
    std::vector<ExpertDemand> demands;
    for (const TraceStep & step : trace.steps) {
        for (const TraceLayer & layer : step.layers) {
            demands.push_back({layer.layer, layer.experts, step.phase == TracePhase::kDecode});
        }
    }
    return belady(demands, trace.sizes, budget_bytes);
}

}  // namespace edgemoe
