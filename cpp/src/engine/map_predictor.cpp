#include "engine/map_predictor.h"

#include "predict/predictor.h"
#include "store/expert_store.h"

#include "ggml.h"

#include <algorithm>
#include <utility>

namespace edgemoe {

namespace {

// Less likely experts are nothing that one would read or protect.
constexpr float kLeastProbability = 0.05F;
// As many experts as the target uses, times this, are named at most.
constexpr size_t kMostNamed = 2;

// What is further ahead than the next layer is not read (store/prefetch_scheduler.cpp), and protecting it saves no
// bytes: it is looked at once in so many calls, to count its recall.
constexpr uint64_t kRecallSample = 8;

// How many layers are forecast by the token alone.
constexpr size_t kTokenLayers = 2;
// Of the first of the experts that a token chose last, and what each further one has less: a fourth of an octave, so
// that the chance of each is known by itself (store/forecast_record.h).
constexpr float kFirstProbability = 0.95F;
constexpr float kRankFactor = 0.8409F;

size_t n_token_layers(const ExpertMaps & maps, bool forecasts) {
    return forecasts ? std::min(kTokenLayers, maps.layers.size()) : 0;
}

size_t most_used(const ExpertMaps & maps) {
    size_t most = 0;
    for (const LayerMap & map : maps.layers) {
        for (const LayerMap::Target & target : map.targets) {
            most = std::max(most, static_cast<size_t>(target.n_used));
        }
    }
    return most;
}

// The rows of a map in memory: those of one layer ahead come after those of the layers further ahead, so that what each
// token needs, and what a token needs without forecasts, are one product.
int64_t row_in_memory(const LayerMap & map, int32_t distance) {
    const int64_t n_near = map.targets[0].n_experts;
    return distance == 1          ? map.first_row(kNextUse) - n_near
           : distance == kNextUse ? map.first_row(kNextUse)
                                  : map.first_row(distance) - n_near;
}

void move_near_rows(LayerMap * map) {
    const auto row_bytes =
        static_cast<std::ptrdiff_t>(ggml_row_size(static_cast<ggml_type>(kMapType), map->n_columns()));
    const auto first = map->weights.begin();
    std::rotate(first, first + map->first_row(2) * row_bytes, first + map->first_row(kNextUse) * row_bytes);
}

// The matrix of `map` from `first_row` on, as ggml's products take it; borrows the weights.
ggml_tensor describe(const LayerMap & map, int64_t first_row) {
    ggml_tensor tensor = {};
    tensor.type = static_cast<ggml_type>(kMapType);
    tensor.ne[0] = map.n_columns();
    tensor.ne[1] = map.n_rows() - first_row;
    tensor.ne[2] = tensor.ne[3] = 1;
    tensor.nb[0] = ggml_type_size(tensor.type);
    tensor.nb[1] = ggml_row_size(tensor.type, map.n_columns());
    tensor.nb[2] = tensor.nb[3] = tensor.nb[1] * static_cast<size_t>(tensor.ne[1]);
    tensor.data = const_cast<std::byte *>(map.weights.data()) +
                  tensor.nb[1] * static_cast<size_t>(first_row);  // ggml's tensors have no const; nothing writes to it
    return tensor;
}

}  // namespace

MapPredictor::MapPredictor(ExpertMaps maps, bool forecasts)
    : maps_(std::move(maps)),
      can_forecast_(forecasts),
      forecasts_ahead_(forecasts),
      token_routing_(n_token_layers(maps_, forecasts), most_used(maps_)) {
    int64_t n_columns = 0, n_rows = 0;
    int32_t n_experts = 0;
    for (LayerMap & map : maps_.layers) {
        move_near_rows(&map);
        layers_.emplace(map.layer, Layer{&map, RoutingHistory(map.n_experts), describe(map, 0),
                                         describe(map, row_in_memory(map, 1)),
                                         describe(map, row_in_memory(map, kNextUse)), layers_.size(), 0});
        n_columns = std::max(n_columns, map.n_columns());
        n_rows = std::max(n_rows, map.n_rows());
        n_experts = std::max(n_experts, map.n_experts);
        scores_next_use_ = scores_next_use_ || map.trained;
    }
    inputs_.resize(static_cast<size_t>(n_columns));
    outputs_.resize(static_cast<size_t>(n_rows));
    likeliest_.reserve(static_cast<size_t>(n_experts));
    forecasts_.reserve(static_cast<size_t>(n_rows));
    vectors_.push_back({inputs_.data(), outputs_.data()});
}

uint64_t MapPredictor::memory_bytes(const ExpertMaps & maps, bool forecasts) {
    uint64_t bytes = maps.bytes();
    uint64_t widest = 0;
    for (const LayerMap & map : maps.layers) {
        bytes += static_cast<uint64_t>(map.n_experts) * kHistoryDecays.size() * sizeof(float);
        widest = std::max(widest, RowProduct::scratch_bytes(map.n_columns(), map.n_rows(), 2));
    }
    const size_t n_layers = n_token_layers(maps, forecasts);
    return bytes + widest + (n_layers == 0 ? 0 : TokenRouting::memory_bytes(n_layers, most_used(maps)));
}

void MapPredictor::begin_tokens(const int32_t * tokens, size_t n_tokens, ExpertStore & store) {
    n_calls_++;
    if (token_routing_.n_layers() == 0) {
        return;
    }
    tokens_.assign(tokens, tokens + n_tokens);
    forecasts_.clear();
    for (auto & [number, layer] : layers_) {
        layer.n_tokens = 0;
        if (n_tokens != 1 || !forecasts_ahead_ || !store.wants_forecasts() ||
            layer.position >= token_routing_.n_layers()) {
            continue;
        }
        const ChosenExperts last = token_routing_.find(tokens[0], layer.position);
        float probability = kFirstProbability;
        for (size_t rank = 0; rank < last.n; rank++) {
            forecasts_.push_back({{number, last.ids[rank]},
                                  probability,
                                  static_cast<int32_t>(layer.position) + 1,
                                  ForecastSource::kToken});
            probability *= kRankFactor;
        }
    }
    if (!forecasts_.empty()) {
        store.forecast(forecasts_);
    }
}

// A layer has chosen for its next token.
void MapPredictor::see(Layer & layer, ChosenExperts chosen) {
    layer.history.add(chosen);
    if (layer.position < token_routing_.n_layers() && layer.n_tokens < tokens_.size()) {
        token_routing_.record(tokens_[layer.n_tokens++], layer.position, chosen);
    }
}

void MapPredictor::pass_over(int32_t layer, const int32_t * ids, int n_tokens, int n_ids) {
    const auto found = layers_.find(layer);
    is_batch_ = true;
    for (int token = 0; found != layers_.end() && token < n_tokens; token++) {
        see(found->second, {ids + token * n_ids, static_cast<size_t>(n_ids)});
    }
}

void MapPredictor::predict(int32_t layer, const float * ffn_input, const int32_t * ids, const float *, int n_ids,
                           ExpertStore & store) {
    const bool is_batch = std::exchange(is_batch_, false);
    const auto found = layers_.find(layer);
    if (found == layers_.end()) {
        return;
    }
    Layer & state = found->second;
    const LayerMap & map = *state.map;
    see(state, {ids, static_cast<size_t>(n_ids)});
    // While the layers of many tokens read nearly everything, only the token behind them is worth a guess.
    const bool is_worth_a_guess = !is_batch || map.targets[0].layer <= layer;
    const bool forecasts = forecasts_ahead_ && is_worth_a_guess && store.wants_forecasts();
    const bool scores = map.trained && (store.wants_scores() || observer_ != nullptr);
    if (ffn_input == nullptr || (!forecasts && !scores)) {
        return;
    }
    std::copy_n(ffn_input, map.n_input, inputs_.data());
    fill_history_columns(map, state.history, inputs_.data() + map.n_input);
    constexpr int32_t kNoParameters[GGML_MAX_OP_PARAMS / sizeof(int32_t)] = {};
    const int32_t most_distance = n_calls_ % kRecallSample == 0 ? kMapDistances : 1;
    ggml_tensor rows = !forecasts ? state.next_use : most_distance == 1 ? state.near : state.weights;
    vectors_.front().output = outputs_.data() + (map.n_rows() - rows.ne[1]);
    rows.ne[1] -= map.trained && !scores ? map.n_experts : 0;  // those of the next use are the last ones
    product_.multiply(rows, vectors_, RowProductKernel::kOneByOne, kNoParameters);
    if (scores) {
        float * next_use = outputs_.data() + row_in_memory(map, kNextUse);
        softmax(next_use, static_cast<size_t>(map.n_experts));
        store.score_next_use(layer, next_use, static_cast<size_t>(map.n_experts));
        if (observer_ != nullptr) {
            observer_->on_scores(layer, next_use, static_cast<size_t>(map.n_experts));
        }
    }
    if (forecasts) {
        forecast(map, most_distance, store);
    }
}

void MapPredictor::forecast(const LayerMap & map, int32_t most_distance, ExpertStore & store) {
    forecasts_.clear();
    for (int32_t distance = 1; distance <= most_distance; distance++) {
        const LayerMap::Target & target = map.targets[static_cast<size_t>(distance - 1)];
        const auto n_experts = static_cast<size_t>(target.n_experts), n_used = static_cast<size_t>(target.n_used);
        if (n_experts == 0) {
            continue;
        }
        float * probabilities = outputs_.data() + row_in_memory(map, distance);
        chosen_probabilities(probabilities, n_experts, n_used);
        most_likely(probabilities, n_experts, kMostNamed * n_used, &likeliest_);
        for (const int32_t expert : likeliest_) {
            const float probability = probabilities[expert];
            if (probability >= kLeastProbability) {
                forecasts_.push_back({{target.layer, expert}, probability, distance, ForecastSource::kLayer});
            }
        }
    }
    store.forecast(forecasts_);
}

}  // namespace edgemoe
