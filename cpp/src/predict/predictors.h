// The factories behind make_predictor: one per predictor file, each file described by its own head comment.
#pragma once

#include "predict/predictor.h"

#include <algorithm>
#include <memory>

namespace edgemoe {

std::unique_ptr<Predictor> make_popularity(PredictorShape shape);
std::unique_ptr<Predictor> make_previous_token(PredictorShape shape);
std::unique_ptr<Predictor> make_path_statistic(PredictorShape shape);
std::unique_ptr<Predictor> make_router_look_ahead(PredictorShape shape);
std::unique_ptr<Predictor> make_trained_look_ahead(PredictorShape shape);
std::unique_ptr<Predictor> make_router_and_path(PredictorShape shape);

// Calls take(expert) for each expert that was chosen.
template <typename Take>
void for_each_expert(ChosenExperts chosen, Take && take) {
    for (size_t i = 0; i < chosen.n; i++) {
        if (chosen.ids[i] >= 0) {
            take(static_cast<size_t>(chosen.ids[i]));
        }
    }
}

}  // namespace edgemoe
