// What became of forecasts: how many of the experts that a layer chose had been named, and how often forecasts like
// one that is made now came true. Not thread-safe.
#pragma once

#include "predict/expert_forecast.h"
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
    // REQUIRES: a layer that exists, distance >= 1, 0 < probability <= 1. Beyond prefetch::kMostDistance nothing is
    // recorded.
    void name(const ExpertForecast & named);

    // That the expert so named is chosen; beyond prefetch::kMostDistance, and about, before anything is known, its
    // probability.
    float chance(const ExpertForecast & named) const;

    // `layer` chose `experts` for a token.
    template <typename Experts>
    void judge(int32_t layer, const Experts & experts) {
        const size_t first = index(layer, 1, ForecastSource::kLayer);
        for (size_t i = first; i < first + kListsPerLayer; ++i) {
            List & list = lists_[i];
            if (!list.is_waiting) {
                continue;
            }
            list.is_waiting = false;
            list.n_chosen += experts.size();
            for (size_t rank = 0; rank < list.named.size(); ++rank) {
                const bool is_right =
                    std::find(experts.begin(), experts.end(), list.named[rank].expert) != experts.end();
                list.n_named += is_right && rank < n_used_ ? 1 : 0;
                list.bins[bin_of(list.named[rank].probability)].add(is_right);
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

    static constexpr size_t kListsPerLayer = static_cast<size_t>(prefetch::kMostDistance) * kForecastSources;
    static size_t index(int32_t layer, int32_t distance, ForecastSource source) {
        return static_cast<size_t>(layer) * kListsPerLayer + static_cast<size_t>(distance - 1) * kForecastSources +
               static_cast<size_t>(source);
    }
    static size_t bin_of(float probability);

    size_t n_used_;
    uint64_t n_forecasts_ = 0;
    std::vector<List> lists_;  // by layer, distance and source; of one layer and distance one at most is waiting
};

}  // namespace edgemoe
