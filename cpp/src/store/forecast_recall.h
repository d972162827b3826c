// How many of the experts that a layer chose had been forecast, by layer and by how many layers ahead. Not thread-safe.
#pragma once

#include "store/prefetch_settings.h"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace edgemoe {

// `n_named` of the `n_chosen` experts that `layer` chose were among as many that a forecast `distance` layers ahead
// named as its likeliest.
struct LayerRecall {
    int32_t layer = 0;
    int32_t distance = 0;
    uint64_t n_chosen = 0;
    uint64_t n_named = 0;
};

// Nothing is allocated after construction, but by table().
class ForecastRecall {
public:
    // `n_used`: experts that a layer chooses for a token.
    ForecastRecall(int32_t n_layers, int32_t n_used);

    // A new forecast begins: the next name() for a layer and distance replaces what it had.
    void begin_forecast() { n_forecasts_++; }
    void name(int32_t layer, int32_t distance, int32_t expert, float probability);

    // `layer` chose `experts` for a token.
    template <typename Experts>
    void judge(int32_t layer, const Experts & experts) {
        for (int32_t distance = 1; distance <= prefetch::kMostDistance; ++distance) {
            List & list = lists_[index(layer, distance)];
            if (list.is_waiting) {
                list.is_waiting = false;
                for (const int32_t expert : experts) {
                    list.n_chosen++;
                    list.n_named += names(list, expert) ? 1 : 0;
                }
            }
        }
    }

    // Those layers and distances that there were forecasts for, by layer, then distance.
    std::vector<LayerRecall> table() const;

private:
    struct Named {
        int32_t expert = 0;
        float probability = 0;
    };
    struct List {
        std::vector<Named> named;  // at most n_used_, the likeliest first
        uint64_t forecast = 0;     // that it is of
        bool is_waiting = false;   // its layer has not chosen since
        uint64_t n_chosen = 0;
        uint64_t n_named = 0;
    };

    static size_t index(int32_t layer, int32_t distance) {
        return static_cast<size_t>(layer) * static_cast<size_t>(prefetch::kMostDistance) +
               static_cast<size_t>(distance - 1);
    }
    static bool names(const List & list, int32_t expert);

    size_t n_used_;
    uint64_t n_forecasts_ = 0;
    std::vector<List> lists_;  // by layer and distance
};

}  // namespace edgemoe
