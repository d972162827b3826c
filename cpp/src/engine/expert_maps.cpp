#include "engine/expert_maps.h"

#include "ggml.h"

#include <algorithm>

namespace edgemoe {

namespace {

static_assert(kMapType == GGML_TYPE_Q8_0);
constexpr int64_t kColumnStep = 32;  // its blocks
constexpr auto kType = static_cast<ggml_type>(kMapType);

}  // namespace

int64_t LayerMap::n_columns() const {
    const int64_t n = n_input + (trained ? static_cast<int64_t>(kHistoryDecays.size()) * n_experts + 1 : 0);
    return (n + kColumnStep - 1) / kColumnStep * kColumnStep;
}

int64_t LayerMap::first_row(int32_t distance) const {
    int64_t row = 0;
    for (int32_t d = 1; d < distance; d++) {
        row += targets[static_cast<size_t>(d - 1)].n_experts;
    }
    return row;
}

int64_t LayerMap::n_rows() const {
    return first_row(kNextUse) + (trained ? n_experts : 0);
}

uint64_t LayerMap::weight_bytes() const {
    return ggml_row_size(kType, n_columns()) * static_cast<uint64_t>(n_rows());
}

std::vector<float> LayerMap::to_float() const {
    std::vector<float> values(static_cast<size_t>(n_rows() * n_columns()));
    ggml_get_type_traits(kType)->to_float(weights.data(), values.data(), static_cast<int64_t>(values.size()));
    return values;
}

void LayerMap::from_float(const std::vector<float> & values) {
    weights.resize(weight_bytes());
    ggml_quantize_chunk(kType, values.data(), weights.data(), 0, n_rows(), n_columns(), nullptr);
}

uint64_t ExpertMaps::bytes() const {
    uint64_t sum = 0;
    for (const LayerMap & map : layers) {
        sum += map.weight_bytes();
    }
    return sum;
}

const LayerMap * ExpertMaps::find(int32_t layer) const {
    const auto found =
        std::find_if(layers.begin(), layers.end(), [layer](const LayerMap & map) { return map.layer == layer; });
    return found == layers.end() ? nullptr : &*found;
}

bool ExpertMaps::has_possible_shapes() const {
    constexpr int32_t kMostColumns = 1 << 20, kMostExperts = 1 << 16;
    for (size_t i = 0; i < layers.size(); i++) {
        const LayerMap & map = layers[i];
        if (map.n_input < 1 || map.n_input > kMostColumns || map.n_experts < 1 || map.n_experts > kMostExperts ||
            (i > 0 && map.layer <= layers[i - 1].layer)) {
            return false;
        }
        for (size_t d = 0; d < map.targets.size(); d++) {
            const LayerMap & target = layers[(i + d + 1) % layers.size()];
            if (map.targets[d].layer != target.layer || map.targets[d].n_experts != target.n_experts ||
                map.targets[d].n_used < 1 || map.targets[d].n_used > target.n_experts) {
                return false;
            }
        }
    }
    return true;
}

bool ExpertMaps::fit(const ExpertIndex & experts) const {
    return std::all_of(layers.begin(), layers.end(), [&](const LayerMap & map) {
        const auto found = std::find_if(experts.layers().begin(), experts.layers().end(),
                                        [&](const ExpertLayer & layer) { return layer.layer == map.layer; });
        return found != experts.layers().end() && found->experts.size() == static_cast<size_t>(map.n_experts) &&
               input_columns(*found) == map.n_input;
    });
}

int32_t input_columns(const ExpertLayer & layer) {
    int32_t columns = 0;
    for (size_t p = 0; p < kProjectionCount; p++) {
        const ExpertPart & matrix = layer.experts.front()[p];
        if (matrix.present && static_cast<Projection>(p) != Projection::kDown) {
            columns = static_cast<int32_t>(matrix.columns);
        }
    }
    return columns;
}

void fill_history_columns(const LayerMap & map, const RoutingHistory & history, float * columns) {
    float * end = columns;
    if (map.trained) {
        end = std::copy(history.frequencies().begin(), history.frequencies().end(), end);
        *end++ = 1.0F;
    }
    std::fill(end, columns + map.n_columns() - map.n_input, 0.0F);
}

}  // namespace edgemoe
