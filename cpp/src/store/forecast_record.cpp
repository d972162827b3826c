#include "store/forecast_record.h"

#include <cmath>

namespace edgemoe {

namespace {

constexpr float kBinsPerOctave = 4;  // of probability, downwards from 1

}  // namespace

ForecastRecord::ForecastRecord(int32_t n_layers, int32_t n_used)
    : n_used_(static_cast<size_t>(std::max(1, n_used))), lists_(static_cast<size_t>(n_layers) * kListsPerLayer) {
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

void ForecastRecord::name(const ExpertForecast & named) {
    if (named.distance > prefetch::kMostDistance) {
        return;
    }
    List & list = lists_[index(named.id.layer, named.distance, named.source)];
    if (list.forecast != n_forecasts_) {
        for (size_t source = 0; source < kForecastSources; ++source) {
            lists_[index(named.id.layer, named.distance, static_cast<ForecastSource>(source))].is_waiting = false;
        }
        list.forecast = n_forecasts_;
        list.is_waiting = true;
        list.named.clear();
    }
    const auto place = std::find_if(list.named.begin(), list.named.end(), [&named](const Named & earlier) {
        return earlier.probability < named.probability;
    });
    list.named.insert(place, {named.id.expert, named.probability});
}

float ForecastRecord::chance(const ExpertForecast & named) const {
    return named.distance > prefetch::kMostDistance
               ? named.probability
               : lists_[index(named.id.layer, named.distance, named.source)].bins[bin_of(named.probability)].share;
}

std::vector<LayerRecall> ForecastRecord::table() const {
    std::vector<LayerRecall> table;
    for (size_t i = 0; i < lists_.size(); i += kForecastSources) {
        LayerRecall row;
        row.layer = static_cast<int32_t>(i / kListsPerLayer);
        row.distance = static_cast<int32_t>(i % kListsPerLayer / kForecastSources) + 1;
        for (size_t source = 0; source < kForecastSources; ++source) {
            row.n_chosen += lists_[i + source].n_chosen;
            row.n_named += lists_[i + source].n_named;
        }
        if (row.n_chosen > 0) {
            table.push_back(row);
        }
    }
    return table;
}

}  // namespace edgemoe
