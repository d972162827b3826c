// What became of forecasts: how many of the experts that a layer chose had been named, and how often forecasts like
// one that is made now came true. Not thread-safe.
#pragma once

#include "store/prefetch_settings.h"

#include <algorithm>
#include <array>
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

// What predictors call a probability is a score that rises with it: how sure it makes one differs between models,
// layers and distances. So it is counted, as in a reliability diagram: forecasts of one layer, distance and about the
// same probability share a bin, and the share of a bin that came true lately is the chance of the next one.
//
// Nothing is allocated once every layer has been forecast, but by table().
class ForecastRecord {
public:
    // `n_used`: experts that a layer chooses for a token.
    ForecastRecord(int32_t n_layers, int32_t n_used);

    // A new forecast begins: the next name() for a layer and distance replaces what it had.
    void begin_forecast() { n_forecasts_++; }
    // REQUIRES: a layer that exists, distance >= 1. Beyond prefetch::kMostDistance nothing is recorded.
    void name(int32_t layer, int32_t distance, int32_t expert, float probability);

    // That an expert so named is chosen; beyond prefetch::kMostDistance, and before anything is known, `probability`.
    float chance(int32_t layer, int32_t distance, float probability) const;

    // `layer` chose `experts` for a token.
    template <typename Experts>
    void judge(int32_t layer, const Experts & experts) {
        for (int32_t distance = 1; distance <= prefetch::kMostDistance; ++distance) {
            List & list = lists_[index(layer, distance)];
            if (!list.is_waiting) {
                continue;
            }
            list.is_waiting = false;
            list.n_chosen += experts.size();
            for (size_t i = 0; i < list.named.size(); ++i) {
                const bool is_right = std::find(experts.begin(), experts.end(), list.named[i].expert) != experts.end();
                list.n_named += is_right && i < n_used_ ? 1 : 0;
                list.bins[bin_of(list.named[i].probability)].add(is_right);
            }
        }
    }

    // Those layers and distances that there were forecasts for, by layer, then distance.
    std::vector<LayerRecall> table() const;

private:
    static constexpr size_t kBins = 16;

    struct Named {
        int32_t expert = 0;
        float probability = 0;
    };
    // Forecasts of about the same probability.
    struct Bin {
        float share = 0;  // of them that came true: a mean that fades
        float weight = 0;

        void add(bool is_right) {
            weight = std::min(weight + 1, prefetch::kMostForecasts);
            share += ((is_right ? 1.0F : 0.0F) - share) / weight;
        }
    };
    struct List {
        std::vector<Named> named;  // the likeliest first
        uint64_t forecast = 0;     // that it is of
        bool is_waiting = false;   // its layer has not chosen since
        uint64_t n_chosen = 0;
        uint64_t n_named = 0;
        std::array<Bin, kBins> bins;
    };

    static size_t index(int32_t layer, int32_t distance) {
        return static_cast<size_t>(layer) * static_cast<size_t>(prefetch::kMostDistance) +
               static_cast<size_t>(distance - 1);
    }
    static size_t bin_of(float probability);

    size_t n_used_;
    uint64_t n_forecasts_ = 0;
    std::vector<List> lists_;  // by layer and distance
};

}  // namespace edgemoe
