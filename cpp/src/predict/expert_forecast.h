// What a predictor says of an expert that may be wanted soon.
#pragma once

#include "base/expert_id.h"

#include <cstddef>
#include <cstdint>

namespace edgemoe {

// What a forecast goes by: how much it is worth differs.
enum class ForecastSource : uint8_t {
    kLayer,  // what an earlier layer saw and chose
    kToken,  // the token alone, before its first layer
};
constexpr size_t kForecastSources = 2;

// The layer `id.layer` comes `distance` layers after the present one (at least 1; layers wrap round to the next token),
// and chooses the expert with `probability`, in [0, 1].
struct ExpertForecast {
    ExpertId id;
    float probability = 0;
    int32_t distance = 1;
    ForecastSource source = ForecastSource::kLayer;
};

}  // namespace edgemoe
