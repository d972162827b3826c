// Invariant: outside of serve_layer nothing is pinned.
#include "simulate/replay.h"

#include "cache/expert_cache.h"
#include "cache/streaming_rule.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <utility>

namespace edgemoe {
namespace {

// A trace says what an expert takes, not its matrices: three of one size, where that comes out even.
MatrixBytes matrices(uint64_t expert_bytes) {
    constexpr uint64_t kThree = 3;
    if (expert_bytes % (kThree * ExpertCache::kGranularity) != 0) {
        return {expert_bytes, 0, 0, 0};
    }
    return {expert_bytes / kThree, expert_bytes / kThree, 0, expert_bytes / kThree};
}

StreamingRule streaming_rule(const RoutingTrace & trace, uint64_t budget_bytes) {
    std::vector<uint64_t> layer_bytes;
    uint64_t largest = 0;
    for (int32_t layer = 0; layer < trace.shape.n_layers; ++layer) {
        layer_bytes.push_back(0);
        for (int32_t expert = 0; expert < trace.shape.n_experts; ++expert) {
            const uint64_t slot_bytes = ExpertCache::slot_bytes(matrices(trace.sizes.of({layer, expert})));
            layer_bytes.back() += slot_bytes;
            largest = std::max(largest, slot_bytes);
        }
    }
    size_t n_experts_used = 0;
    for (const TraceStep & step : trace.steps) {
        for (const TraceLayer & layer : step.layers) {
            if (step.phase == TracePhase::kDecode) {
                n_experts_used = std::max(n_experts_used, layer.experts.size());
            }
        }
    }
    return {budget_bytes, std::move(layer_bytes), largest, static_cast<int32_t>(n_experts_used)};
}

class Replay {
public:
    Replay(const RoutingTrace & trace, uint64_t budget_bytes, std::unique_ptr<EvictionPolicy> policy)
        : cache_(budget_bytes, trace.shape, std::move(policy)),
          rule_(streaming_rule(trace, budget_bytes)),
          n_experts_(trace.shape.n_experts),
          traffic_(trace.sizes.bytes.size()),
          resident_since_(trace.sizes.bytes.size(), kAbsent) {}

    ReplayResult run(const RoutingTrace & trace) {
        ReplayResult decode;
        PolicyTime now;
        for (const TraceStep & step : trace.steps) {
            ReplayResult prompt;
            ReplayResult & counted = step.phase == TracePhase::kDecode ? decode : prompt;
            counted.decode_tokens += 1;
            n_decoded_ = decode.decode_tokens;
            for (const TraceLayer & layer : step.layers) {
                now.layer = layer.layer;
                serve_layer(layer, trace.sizes, step.phase, now, &counted);
            }
            ++now.step;
        }
        ++n_decoded_;
        for (size_t i = 0; i < traffic_.size(); ++i) {
            end_stay(i);
        }
        decode.experts = std::move(traffic_);
        return decode;
    }

private:
    void serve_layer(const TraceLayer & layer, const ExpertSizes & sizes, TracePhase phase, PolicyTime now,
                     ReplayResult * counted) {
        std::optional<StreamLimits> limits;
        if (phase == TracePhase::kPrompt) {
            uint64_t wanted_bytes = 0;
            for (const int32_t expert : layer.experts) {
                wanted_bytes += sizes.of({layer.layer, expert});
            }
            limits = rule_.limits(layer.layer, layer.experts.size(), wanted_bytes);
        }
        for (size_t place = 0; place < layer.experts.size(); ++place) {
            cache_.record_use({layer.layer, layer.experts[place]}, now, layer.use(place));
        }
        absent_.clear();
        for (const int32_t expert : layer.experts) {
            const ExpertId id{layer.layer, expert};
            if (cache_.contains(id)) {
                if (!limits) {
                    cache_.keep(id);
                }
                pin(id);
            } else {
                absent_.push_back(id);
            }
        }
        counted->requests += layer.experts.size();
        counted->hits += pinned_.size();
        if (limits) {
            candidates_.clear();
            for (const ExpertId id : absent_) {
                candidates_.push_back({id, ExpertCache::slot_bytes(matrices(sizes.of(id)))});
            }
            cache_.choose_settling(&candidates_, *limits);
        }
        for (const ExpertId id : absent_) {
            const uint64_t bytes = sizes.of(id);
            counted->missed_bytes += bytes;
            traffic_[index_of(id)].misses += phase == TracePhase::kDecode ? 1 : 0;
            evicted_.clear();
            bool inserted = insert(id, bytes, limits, now);
            if (!inserted) {
                unpin_all();
                inserted = insert(id, bytes, limits, now);
            }
            counted->evictions += evicted_.size();
            for (const ExpertId left : evicted_) {
                end_stay(index_of(left));
            }
            if (inserted) {
                resident_since_[index_of(id)] = n_decoded_;
                pin(id);
            }
        }
        if (!layer.scores.empty()) {
            cache_.score_next_use(layer.layer, layer.scores.data(), layer.scores.size());
        }
        unpin_all();
    }

    size_t index_of(ExpertId id) const {
        return static_cast<size_t>(id.layer) * static_cast<size_t>(n_experts_) + static_cast<size_t>(id.expert);
    }

    void end_stay(size_t index) {
        if (resident_since_[index] != kAbsent) {
            traffic_[index].resident_steps += n_decoded_ - resident_since_[index];
            resident_since_[index] = kAbsent;
        }
    }

    bool insert(ExpertId id, uint64_t bytes, const std::optional<StreamLimits> & limits, PolicyTime now) {
        return limits ? cache_.insert_streamed(id, matrices(bytes), now, *limits, &evicted_)
                      : cache_.insert(id, matrices(bytes), now, &evicted_);
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

    static constexpr uint64_t kAbsent = std::numeric_limits<uint64_t>::max();

    ExpertCache cache_;
    StreamingRule rule_;
    int32_t n_experts_;
    uint64_t n_decoded_ = 0;  // decode steps so far, the one that is served included
    std::vector<ExpertTraffic> traffic_;
    std::vector<uint64_t> resident_since_;  // value of n_decoded_, or kAbsent
    std::vector<ExpertId> pinned_;
    std::vector<ExpertId> absent_;
    std::vector<ExpertCache::Absent> candidates_;
    std::vector<ExpertId> evicted_;
};

}  // namespace

Result<ReplayResult> replay(const RoutingTrace & trace, const std::string & policy_name, uint64_t budget_bytes) {
    Result<std::unique_ptr<EvictionPolicy>> policy = make_eviction_policy(policy_name, trace.shape);
    if (!policy.is_ok()) {
        return policy.status();
    }
    return Replay(trace, budget_bytes, std::move(policy).value()).run(trace);
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
