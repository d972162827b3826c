// The trained maps of a model: for each MoE layer one matrix that, times what the layer's experts see and the layer's
// routing so far, gives the look-ahead of the next layers and the next use of the layer's own experts.
// docs/prediction.md says what they are good for, engine/map_training.h how they are fitted. They travel in a profile
// or a packed file.
#pragma once

#include "base/status.h"
#include "predict/routing_history.h"
#include "storage/expert_index.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace edgemoe {

// How many layers ahead maps look.
constexpr int32_t kMapDistances = 3;

constexpr int32_t kMapType = 8;  // GGML_TYPE_Q8_0: half the bytes of 16 bits, and no worse (docs/prediction.md)

// One matrix [n_rows, n_columns], row after row, of ggml's type kMapType.
//   columns: the FFN input; if it is trained, RoutingHistory::frequencies() of the layer, this token included, and 1;
//            zeros up to a multiple of 32
//   rows:    logits of the experts of targets[0], of targets[1], of targets[2]; if it is trained, logits of the layer's
//            own next use
struct LayerMap {
    struct Target {
        int32_t layer = 0;      // block number
        int32_t n_experts = 0;  // of it; 0: there is none, and there are no rows of it
        int32_t n_used = 0;
    };

    int32_t layer = 0;
    int32_t n_input = 0;  // columns of the FFN input
    int32_t n_experts = 0;
    bool trained = true;  // false: made of the routers of the targets alone
    std::array<Target, kMapDistances> targets;
    std::vector<std::byte> weights;

    int64_t n_columns() const;
    int64_t n_rows() const;
    // Of the outputs of `distance` (1 to kMapDistances), or of the next use (kMapDistances + 1).
    int64_t first_row(int32_t distance) const;
    // Bytes of `weights` as they should be.
    uint64_t weight_bytes() const;

    std::vector<float> to_float() const;  // [n_rows, n_columns]
    void from_float(const std::vector<float> & values);
};

// Maps without weights are enough to know what they take.
enum class MapContent { kShapes, kWeights };

constexpr int32_t kNextUse = kMapDistances + 1;

// Value type.
struct ExpertMaps {
    std::vector<LayerMap> layers;  // in the order of computation

    bool empty() const { return layers.empty(); }
    uint64_t bytes() const;                      // in memory, once weights are read
    const LayerMap * find(int32_t layer) const;  // nullptr: none
    // False for sizes out of all bounds, and for targets that are not the layers that follow.
    bool has_possible_shapes() const;
    // True if they are of a model with these experts.
    bool fit(const ExpertIndex & experts) const;
};

// How long the FFN input of a layer's experts is.
int32_t input_columns(const ExpertLayer & layer);

// Writes what follows the FFN input in the columns of `map`, n_columns() - n_input numbers.
void fill_history_columns(const LayerMap & map, const RoutingHistory & history, float * columns);

}  // namespace edgemoe
