// Who leaves when room is needed. A policy sees ids and steps: no bytes, no clock, no I/O.
// Not thread-safe: the cache that owns it is guarded by the store's mutex.
#pragma once

#include "base/expert_id.h"
#include "base/status.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace edgemoe {

// Time as policies see it. A step is one llama_decode of one ubatch (one token in decode); layers run in rising order
// inside it.
struct PolicyTime {
    int64_t step = 0;
    int32_t layer = 0;
};

// Which tokens of a step chose an expert. The default: the step's only token.
struct ExpertUse {
    static constexpr int32_t kOnlyToken = 0;

    int32_t n_step_tokens = 1;
    size_t n_tokens = 1;                 // that chose the expert; at least 1
    const int32_t * ages = &kOnlyToken;  // of these, by token: how many tokens of the step came after it. Borrowed
};

class EvictionPolicy {
public:
    virtual ~EvictionPolicy() = default;

    // The router chose `id` at `now` (whether it was resident or not). Called once per expert, layer and step.
    virtual void on_use(ExpertId id, PolicyTime now, ExpertUse use) = 0;

    // `id` got a slot, lost it. Between the two it may be named as victim.
    virtual void on_insert(ExpertId id, PolicyTime now) = 0;
    virtual void on_remove(ExpertId id) = 0;

    // The inserted expert that should leave first, among those for which is_evictable holds.
    // False when there is none.
    class Filter {
    public:
        virtual ~Filter() = default;
        virtual bool is_evictable(ExpertId id) const = 0;
    };
    virtual bool victim(PolicyTime now, const Filter & filter, ExpertId * id) = 0;

    // How soon and how often each of the `n` experts of `layer` will be used, as a predictor sees it now: larger is
    // sooner or more often. Borrowed for the call. Policies that go by what was used ignore it.
    virtual void on_scores(int32_t layer, const float * scores, size_t n) {
        static_cast<void>(layer);
        static_cast<void>(scores);
        static_cast<void>(n);
    }
    // False: on_scores() need not be called.
    virtual bool takes_scores() const { return false; }

    // What `id` is worth as of its latest use, inserted or not: of experts of one layer, the one that is worth more
    // stays longer. All the same where the policy does not rank by worth.
    virtual float value(ExpertId /*id*/) const { return 0.0F; }

    virtual const char * name() const = 0;
};

// The number of layers that have experts, and of experts per layer, size the policies' tables.
struct PolicyShape {
    int32_t n_layers = 0;   // highest layer number + 1
    int32_t n_experts = 0;  // most experts of any layer
};

// "lru", "lfu", "decayed-frequency", "frequency-distance" (the EdgeMoE paper's), "two-timescale", "next-use" (by
// on_scores) and "default" (docs/cache.md says which and why). kInvalidArgument, with the names there are, for another.
constexpr const char * kDefaultPolicyAlias = "default";
Result<std::unique_ptr<EvictionPolicy>> make_eviction_policy(const std::string & name, PolicyShape shape);
std::vector<std::string> eviction_policy_names();

}  // namespace edgemoe
