#include "store/forecast_record.h"

#include <cmath>

namespace edgemoe {

namespace {

constexpr float kBinsPerOctave = 4;  // of probability, downwards from 1

}  // namespace

ForecastRecord::ForecastRecord(int32_t n_layers, int32_t n_used)
    : n_used_(static_cast<size_t>(std::max(1, n_used))),
      lists_(static_cast<size_t>(n_layers) * static_cast<size_t>(prefetch::kMostDistance)) {
    for (List & list : lists_) {
        for (size_t bin = 0; bin < kBins; ++bin) {
            const float octaves = (static_cast<float>(bin) + 0.5F - static_cast<float>(kBins)) / kBinsPerOctave;
            list.bins[bin] = {std::exp2(octaves), prefetch::kFirstForecasts};
        }
    }
}

size_t ForecastRecord::bin_of(float probability) {
    const float bin = static_cast<float>(kBins) + kBinsPerOctave * std::log2(std::max(probability, 1e-6F));
    return static_cast<size_t>(std::clamp(bin, 0.0F, static_cast<float>(kBins - 1)));
}

void ForecastRecord::name(int32_t layer, int32_t distance, int32_t expert, float probability) {
    if (distance > prefetch::kMostDistance) {
        return;
    }
    List & list = lists_[index(layer, distance)];
    if (list.forecast != n_forecasts_) {
        list.forecast = n_forecasts_;
        list.is_waiting = true;
        list.named.clear();
    }
    const auto place = std::find_if(list.named.begin(), list.named.end(),
                                    [probability](const Named & named) { return named.probability < probability; });
    list.named.insert(place, {expert, probability});
}

float ForecastRecord::chance(int32_t layer, int32_t distance, float probability) const {
    return distance > prefetch::kMostDistance ? probability
                                              : lists_[index(layer, distance)].bins[bin_of(probability)].share;
}

std::vector<LayerRecall> ForecastRecord::table() const {
    std::vector<LayerRecall> table;
    for (size_t i = 0; i < lists_.size(); ++i) {
        if (lists_[i].n_chosen > 0) {
            const auto most = static_cast<size_t>(prefetch::kMostDistance);
            table.push_back({static_cast<int32_t>(i / most), static_cast<int32_t>(i % most) + 1, lists_[i].n_chosen,
                             lists_[i].n_named});
        }
    }
    return table;
}

}  // namespace edgemoe
