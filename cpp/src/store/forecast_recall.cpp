#include "store/forecast_recall.h"

#include <algorithm>

namespace edgemoe {

ForecastRecall::ForecastRecall(int32_t n_layers, int32_t n_used)
    : n_used_(static_cast<size_t>(std::max(1, n_used))),
      lists_(static_cast<size_t>(n_layers) * static_cast<size_t>(prefetch::kMostDistance)) {
    for (List & list : lists_) {
        list.named.reserve(n_used_ + 1);
    }
}

void ForecastRecall::name(int32_t layer, int32_t distance, int32_t expert, float probability) {
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
    if (list.named.size() > n_used_) {
        list.named.pop_back();
    }
}

bool ForecastRecall::names(const List & list, int32_t expert) {
    return std::any_of(list.named.begin(), list.named.end(),
                       [expert](const Named & named) { return named.expert == expert; });
}

std::vector<LayerRecall> ForecastRecall::table() const {
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
