#include "engine/map_features.h"

#include "ggml.h"

#include <algorithm>

namespace edgemoe {

std::vector<int32_t> chosen_of(const std::vector<int16_t> & ids, int64_t token, int32_t n_used) {
    const auto first = ids.begin() + token * n_used;
    return std::vector<int32_t>(first, first + n_used);
}

MapFeatures::MapFeatures(const LayerActivations & activations) : activations_(activations) {
    const SpillLayer & shape = activations.shape;
    LayerMap map;
    map.n_input = shape.columns;
    map.n_experts = shape.n_experts;
    n_columns_ = map.n_columns();
    n_history_ = static_cast<int64_t>(kHistoryDecays.size()) * shape.n_experts;
    history_.resize(static_cast<size_t>(activations.n_tokens * n_history_));
    RoutingHistory history(shape.n_experts);
    for (int64_t token = 0; token < activations.n_tokens; token++) {
        const std::vector<int32_t> chosen = chosen_of(activations.ids, token, shape.n_used);
        history.add({chosen.data(), chosen.size()});
        ggml_fp32_to_fp16_row(history.frequencies().data(), history_.data() + token * n_history_, n_history_);
    }
}

void MapFeatures::fill(const int32_t * tokens, int64_t n, float * rows) const {
    const int64_t n_input = activations_.shape.columns;
    for (int64_t i = 0; i < n; i++) {
        const int64_t token = tokens[i];
        float * row = rows + i * n_columns_;
        ggml_fp16_to_fp32_row(activations_.inputs.data() + token * n_input, row, n_input);
        const float scale = activations_.scales[static_cast<size_t>(token)];
        if (scale != 1.0F) {
            std::transform(row, row + n_input, row, [scale](float value) { return value * scale; });
        }
        float * history = row + n_input;
        ggml_fp16_to_fp32_row(history_.data() + token * n_history_, history, n_history_);
        history[n_history_] = 1.0F;
        std::fill(history + n_history_ + 1, row + n_columns_, 0.0F);
    }
}

}  // namespace edgemoe
