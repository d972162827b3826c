// What a predictor says of an expert that may be wanted soon.
#pragma once

#include "base/expert_id.h"

#include <cstdint>

namespace edgemoe {

// The layer `id.layer` comes `distance` layers after the present one (at least 1; layers wrap round to the next token),
// and chooses the expert with `probability`, in [0, 1].
struct ExpertForecast {
    ExpertId id;
    float probability = 0;
    int32_t distance = 1;
};

}  // namespace edgemoe
