// The factors that error feedback needs for one set of moments: what gate and up, and the types of a ladder, share.
#pragma once

#include "base/status.h"
#include "engine/expert_moments.h"
#include "rounding/feedback_factor.h"

#include <cstdint>
#include <map>

namespace edgemoe {

// Made when first wanted, kept for each group. One thread at a time. Memory: two matrices of columns x columns each.
class FeedbackFactors {
public:
    // `moments` outlives it.
    explicit FeedbackFactors(const ExpertMoments & moments) : moments_(moments) {}

    // nullptr for a type without error feedback.
    Result<const FeedbackFactor *> for_type(int32_t type);

private:
    const ExpertMoments & moments_;
    std::map<int64_t, FeedbackFactor> factors_;
};

}  // namespace edgemoe
