// Who wants to know what the routers chose.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace edgemoe {

class RoutingObserver {
public:
    virtual ~RoutingObserver() = default;

    // Layer `layer` of a ubatch: experts[token * n_slots + slot], in the router's order. Called once per layer and
    // ubatch, in the order of computation, on the thread that computes, under no lock.
    virtual void on_routing(int32_t layer, int32_t n_slots, const std::vector<int32_t> & experts) = 0;

    // What a predictor says of the next use of the `n` experts of `layer`, after on_routing() of the same ubatch.
    // Borrowed for the call, which comes from a thread of the pool, never at the same time as another one.
    virtual void on_scores(int32_t layer, const float * scores, size_t n) {
        static_cast<void>(layer);
        static_cast<void>(scores);
        static_cast<void>(n);
    }
};

}  // namespace edgemoe
