// How often each layer has chosen each of its experts lately: what the trained maps see beside the FFN input.
#pragma once

#include "predict/predictor.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace edgemoe {

// Uses fading by 0.8, 0.95 and 0.99 a token, times 1 - decay, so that an expert that every token chooses has 1.
constexpr std::array<float, 3> kHistoryDecays = {0.8F, 0.95F, 0.99F};

// Of one layer. One thread at a time. Nothing is allocated after construction.
class RoutingHistory {
public:
    explicit RoutingHistory(int32_t n_experts);

    void add(ChosenExperts chosen);
    void clear();

    // [kHistoryDecays.size(), n_experts], as of the last token.
    const std::vector<float> & frequencies() const { return frequencies_; }

private:
    int32_t n_experts_;
    std::vector<float> frequencies_;
};

}  // namespace edgemoe
