#include "engine/feedback_factors.h"

#include "rounding/round_matrix.h"

#include <utility>

namespace edgemoe {

Result<const FeedbackFactor *> FeedbackFactors::for_type(int32_t type) {
    if (!can_round(type)) {
        return static_cast<const FeedbackFactor *>(nullptr);
    }
    const int64_t group = feedback_group(type);
    auto found = factors_.find(group);
    if (found == factors_.end()) {
        Result<FeedbackFactor> made = FeedbackFactor::make(moments_.fitted, moments_.damping, group);
        if (!made.is_ok()) {
            return made.status();
        }
        found = factors_.emplace(group, std::move(made).value()).first;
    }
    return static_cast<const FeedbackFactor *>(&found->second);
}

}  // namespace edgemoe
