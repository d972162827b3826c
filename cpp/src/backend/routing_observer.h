// Who wants to know what the routers chose.
#pragma once

#include <cstdint>
#include <vector>

namespace edgemoe {

class RoutingObserver {
public:
    virtual ~RoutingObserver() = default;

    // Layer `layer` of a ubatch: experts[token * n_slots + slot], in the router's order. Called once per layer and
    // ubatch, in the order of computation, on the thread that computes, under no lock.
    virtual void on_routing(int32_t layer, int32_t n_slots, const std::vector<int32_t> & experts) = 0;
};

}  // namespace edgemoe
