#include "predict/routing_history.h"

#include <algorithm>

namespace edgemoe {

namespace {

constexpr float kNegligible = 1e-12F;  // denormal numbers are slow

}  // namespace

RoutingHistory::RoutingHistory(int32_t n_experts)
    : n_experts_(n_experts), frequencies_(kHistoryDecays.size() * static_cast<size_t>(n_experts), 0.0F) {}

void RoutingHistory::add(ChosenExperts chosen) {
    float * of_decay = frequencies_.data();
    for (const float decay : kHistoryDecays) {
        std::transform(of_decay, of_decay + n_experts_, of_decay, [decay](float value) {
            const float faded = value * decay;
            return faded < kNegligible ? 0.0F : faded;
        });
        for (size_t i = 0; i < chosen.n; i++) {
            if (chosen.ids[i] >= 0 && chosen.ids[i] < n_experts_) {
                of_decay[chosen.ids[i]] += 1.0F - decay;
            }
        }
        of_decay += n_experts_;
    }
}

void RoutingHistory::clear() {
    std::fill(frequencies_.begin(), frequencies_.end(), 0.0F);
}

}  // namespace edgemoe
