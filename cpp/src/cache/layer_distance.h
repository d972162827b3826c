// How near the next turn of each layer is: layers are visited in a fixed cycle, so it is known.
#pragma once

#include "cache/eviction_policy.h"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace edgemoe {

// Sets (*weights)[layer] to 1 - strength x (share of the cycle until `layer` comes after now.layer): highest for the
// layer that comes next, 1 - strength for the one that is being served. REQUIRES: 0 <= strength < 1.
inline void weigh_by_layer_distance(PolicyTime now, float strength, std::vector<float> * weights) {
    const auto n_layers = static_cast<int32_t>(weights->size());
    for (int32_t layer = 0; layer < n_layers; ++layer) {
        const int32_t distance = layer > now.layer ? layer - now.layer : layer - now.layer + n_layers;
        (*weights)[static_cast<size_t>(layer)] =
            1.0F - strength * static_cast<float>(distance) / static_cast<float>(n_layers);
    }
}

}  // namespace edgemoe
