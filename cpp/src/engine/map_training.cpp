// Four fits for each layer, all convex, each of its own rows of the layer's matrix: the look-ahead of the three next
// layers and the next use. They share what they read and run at the same time.
#include "engine/map_training.h"

#include "engine/map_features.h"
#include "engine/parallel_work.h"
#include "engine/router_weights.h"
#include "fitting/softmax_map.h"
#include "predict/predictor.h"

#include "ggml.h"

#include <algorithm>
#include <atomic>
#include <map>
#include <memory>

namespace edgemoe {

namespace {

constexpr float kUseDecay = 0.8F;         // a use one token later counts that much less
constexpr int64_t kProductTokens = 1024;  // of a router at a time
// Where the target's router, applied early, names less of what is chosen, a linear map cannot follow its logits, and
// does better with what was chosen in view.
constexpr double kSureStart = 0.65;
constexpr double kLeastAgreement = 0.95;  // of the router's logits with what was chosen: else something else chooses

// The distributions that a layer's experts had, token after token: what the look-ahead is fitted to.
class ChoiceDistribution {
public:
    // From the router's logits on the layer's own input, if they say what was chosen; otherwise from the router's
    // weights of the chosen experts.
    static Result<ChoiceDistribution> of(const GgufSource & source, const LayerActivations & layer) {
        ChoiceDistribution made;
        made.n_experts_ = layer.shape.n_experts;
        made.n_used_ = layer.shape.n_used;
        made.ids_ = layer.ids;
        made.values_.resize(static_cast<size_t>(layer.n_tokens * made.n_experts_));
        Result<RouterWeights> router =
            read_router(source, layer.shape.layer, layer.shape.columns, layer.shape.n_experts);
        if (!router.is_ok()) {
            return router.status();
        }
        if (!router.value().known() || !made.take_router(router.value(), layer)) {
            made.take_weights(layer);
        }
        return made;
    }

    // [n_experts], of one token.
    void get(int64_t token, float * row) const {
        ggml_fp16_to_fp32_row(values_.data() + token * n_experts_, row, n_experts_);
    }

    // Half of that, half shared out evenly among those that were chosen.
    void get_blend(int64_t token, float * row) const {
        get(token, row);
        std::transform(row, row + n_experts_, row, [](float value) { return 0.5F * value; });
        for (const int32_t expert : chosen_of(ids_, token, n_used_)) {
            if (expert >= 0) {
                row[expert] += 0.5F / static_cast<float>(n_used_);
            }
        }
    }

    // What the token chose.
    std::vector<int32_t> chosen(int64_t token) const { return chosen_of(ids_, token, n_used_); }

private:
    bool take_router(const RouterWeights & router, const LayerActivations & layer) {
        const auto n_experts = static_cast<size_t>(n_experts_);
        std::vector<float> inputs, logits;
        std::vector<int32_t> tokens, likeliest;
        int64_t n_agreed = 0;
        for (int64_t first = 0; first < layer.n_tokens; first += kProductTokens) {
            const int64_t n = std::min(kProductTokens, layer.n_tokens - first);
            tokens.resize(static_cast<size_t>(n));
            for (int64_t i = 0; i < n; i++) {
                tokens[static_cast<size_t>(i)] = static_cast<int32_t>(first + i);
            }
            inputs.resize(static_cast<size_t>(n * router.n_columns));
            logits.resize(static_cast<size_t>(n * n_experts_));
            layer.decode(tokens, inputs.data());
            apply_map(inputs.data(), router.values.data(), n, router.n_columns, n_experts_, logits.data());
            for (int64_t i = 0; i < n; i++) {
                float * row = logits.data() + i * n_experts_;
                most_likely(row, n_experts, static_cast<size_t>(layer.shape.n_used), &likeliest);
                for (const int32_t chosen : chosen_of(layer.ids, first + i, layer.shape.n_used)) {
                    n_agreed += std::count(likeliest.begin(), likeliest.end(), chosen);
                }
                softmax(row, n_experts);
                ggml_fp32_to_fp16_row(row, values_.data() + (first + i) * n_experts_, n_experts_);
            }
        }
        const auto n_chosen = static_cast<double>(layer.n_tokens * layer.shape.n_used);
        return static_cast<double>(n_agreed) >= kLeastAgreement * n_chosen;
    }

    void take_weights(const LayerActivations & layer) {
        const auto n_used = static_cast<size_t>(layer.shape.n_used);
        std::vector<float> row(static_cast<size_t>(n_experts_));
        for (int64_t token = 0; token < layer.n_tokens; token++) {
            std::fill(row.begin(), row.end(), 0.0F);
            float sum = 0;
            for (size_t k = 0; k < n_used; k++) {
                const size_t i = static_cast<size_t>(token) * n_used + k;
                if (layer.ids[i] >= 0) {
                    const float weight = std::max(0.0F, layer.weights[i]);
                    row[static_cast<size_t>(layer.ids[i])] += weight;
                    sum += weight;
                }
            }
            for (float & value : row) {
                value = sum > 0 ? value / sum : 0.0F;
            }
            ggml_fp32_to_fp16_row(row.data(), values_.data() + token * n_experts_, n_experts_);
        }
    }

    int64_t n_experts_ = 0;
    int32_t n_used_ = 0;
    std::vector<int16_t> ids_;
    std::vector<uint16_t> values_;  // ggml_fp16_t, [n_tokens, n_experts]
};

// How soon and how often each expert of a layer is used after each token: the sum over the next tokens of kUseDecay to
// the power of how far they are, scaled to sum 1. The last tokens, of whose future little is known, say nothing.
class FutureUse {
public:
    explicit FutureUse(const LayerActivations & layer)
        : n_experts_(layer.shape.n_experts), values_(static_cast<size_t>(layer.n_tokens * n_experts_), 0) {
        constexpr int64_t kUnknown = 16;
        std::vector<float> sums(static_cast<size_t>(n_experts_), 0.0F), row(sums.size());
        for (int64_t token = layer.n_tokens - 1; token >= 0; token--) {
            float sum = 0;
            for (const float value : sums) {
                sum += value;
            }
            if (token < layer.n_tokens - kUnknown && sum > 0) {
                std::transform(sums.begin(), sums.end(), row.begin(), [sum](float value) { return value / sum; });
                ggml_fp32_to_fp16_row(row.data(), values_.data() + token * n_experts_, n_experts_);
            }
            for (float & value : sums) {
                value *= kUseDecay;
            }
            for (const int32_t expert : chosen_of(layer.ids, token, layer.shape.n_used)) {
                if (expert >= 0) {
                    sums[static_cast<size_t>(expert)] += 1.0F;
                }
            }
        }
    }

    void get(int64_t token, float * row) const {
        ggml_fp16_to_fp32_row(values_.data() + token * n_experts_, row, n_experts_);
    }

private:
    int64_t n_experts_;
    std::vector<uint16_t> values_;  // ggml_fp16_t, [n_tokens, n_experts]
};

class MapTrainer {
public:
    MapTrainer(const GgufSource & source, const ActivationSpill & spill, int32_t n_ctx, int n_threads)
        : source_(source), spill_(spill), n_ctx_(n_ctx), n_threads_(n_threads) {
        for (size_t i = 0; i < spill.shape().layers.size(); i++) {
            if (spill.facts(i).seen) {
                places_.push_back(i);
            }
        }
    }

    Result<ExpertMaps> run(const JobProgress & progress) {
        ExpertMaps maps;
        if (places_.size() < 2) {
            return maps;
        }
        ProgressMeter meter(progress, "fitting predictors");
        for (size_t position = 0; position < places_.size(); position++) {
            const auto report = [&](double fraction) {
                return meter.report((static_cast<double>(position) + fraction) / static_cast<double>(places_.size()));
            };
            Result<LayerMap> map = train_layer(position, report);
            if (!map.is_ok()) {
                return map.status();
            }
            maps.layers.push_back(std::move(map).value());
        }
        return maps;
    }

private:
    const SpillLayer & shape_of(size_t position) const { return spill_.shape().layers[places_[position]]; }
    size_t target_of(size_t position, int32_t distance) const {
        return (position + static_cast<size_t>(distance)) % places_.size();
    }
    // How many tokens later the target is.
    int64_t tokens_to_target(size_t position, int32_t distance) const {
        return static_cast<int64_t>((position + static_cast<size_t>(distance)) / places_.size());
    }

    // Keeps those that the next layer wants too.
    Status prepare_choices(size_t position) {
        std::map<size_t, std::shared_ptr<const ChoiceDistribution>> kept;
        for (int32_t distance = 1; distance <= kMapDistances; distance++) {
            const size_t target = target_of(position, distance);
            if (kept.count(target) != 0) {
                continue;
            }
            if (choices_.count(target) != 0) {
                kept[target] = choices_[target];
                continue;
            }
            const Result<LayerActivations> activations = spill_.read_layer(places_[target]);
            if (!activations.is_ok()) {
                return activations.status();
            }
            Result<ChoiceDistribution> made = ChoiceDistribution::of(source_, activations.value());
            if (!made.is_ok()) {
                return made.status();
            }
            kept[target] = std::make_shared<const ChoiceDistribution>(std::move(made).value());
        }
        choices_ = std::move(kept);
        return Status::ok();
    }

    Result<LayerMap> train_layer(size_t position, const std::function<bool(double)> & report) {
        Status status = prepare_choices(position);
        if (!status.is_ok()) {
            return status;
        }
        const Result<LayerActivations> activations = spill_.read_layer(places_[position]);
        if (!activations.is_ok()) {
            return activations.status();
        }
        const MapFeatures features(activations.value());
        const FutureUse future(activations.value());
        LayerMap map;
        map.layer = shape_of(position).layer;
        map.n_input = shape_of(position).columns;
        map.n_experts = shape_of(position).n_experts;
        for (int32_t distance = 1; distance <= kMapDistances; distance++) {
            const SpillLayer & target = shape_of(target_of(position, distance));
            map.targets[static_cast<size_t>(distance - 1)] = {target.layer, target.n_experts, target.n_used};
        }
        std::array<std::vector<float>, kNextUse> parts;
        std::array<std::atomic<double>, kNextUse> done{};
        const auto fit = [&](size_t index, int) {
            return fit_part(position, index, features, future, &done[index], &parts[index]);
        };
        stop_.store(false);
        status = run_in_parallel(kNextUse, n_threads_, fit, [&](size_t) {
            double sum = 0;
            for (const std::atomic<double> & part : done) {
                sum += part.load(std::memory_order_relaxed);
            }
            const bool goes_on = report(sum / kNextUse);
            stop_.store(!goes_on);
            return goes_on;
        });
        if (!status.is_ok()) {
            return status;
        }
        std::vector<float> weights;
        for (const std::vector<float> & part : parts) {
            weights.insert(weights.end(), part.begin(), part.end());
        }
        map.from_float(weights);
        return map;
    }

    // `index`: distance - 1, the next use last.
    Status fit_part(size_t position, size_t index, const MapFeatures & features, const FutureUse & future,
                    std::atomic<double> * done, std::vector<float> * weights) const {
        const auto distance = static_cast<int32_t>(index + 1);
        const bool next_use = distance == kNextUse;
        const size_t target = next_use ? position : target_of(position, distance);
        SoftmaxMapData data;
        data.n_tokens = spill_.shape().n_tokens;
        data.n_columns = features.n_columns();
        data.n_rows = shape_of(target).n_experts;
        const int64_t later = next_use ? 0 : tokens_to_target(position, distance);
        const ChoiceDistribution * choices = next_use ? nullptr : choices_.at(target).get();
        bool blend = false;
        data.fill = [&, later, choices](const int32_t * tokens, int64_t n, float * inputs, float * targets) {
            features.fill(tokens, n, inputs);
            for (int64_t i = 0; i < n; i++) {
                float * row = targets + i * data.n_rows;
                const int64_t token = tokens[i] + later;
                if (choices == nullptr) {
                    future.get(token, row);
                } else if (tokens[i] % n_ctx_ + later < n_ctx_) {
                    blend ? choices->get_blend(token, row) : choices->get(token, row);
                } else {
                    std::fill(row, row + data.n_rows, 0.0F);  // of another window
                }
            }
        };
        weights->assign(static_cast<size_t>(data.n_rows * data.n_columns), 0.0F);
        if (!next_use) {
            const Status status = start_from_router(target, shape_of(position).columns, data, weights);
            if (!status.is_ok()) {
                return status;
            }
            blend = start_recall(data, *choices, later, *weights) < kSureStart;
        }
        return fit_softmax_map(data, {}, weights, [&](double fraction) {
            done->store(fraction, std::memory_order_relaxed);
            return !stop_.load(std::memory_order_relaxed);
        });
    }

    // The share of what was chosen that the start names, on some tokens.
    static double start_recall(const SoftmaxMapData & data, const ChoiceDistribution & choices, int64_t later,
                               const std::vector<float> & weights) {
        const int64_t n = std::min(kProductTokens, data.n_tokens - later);
        std::vector<int32_t> tokens(static_cast<size_t>(n)), named;
        for (int64_t i = 0; i < n; i++) {
            tokens[static_cast<size_t>(i)] = static_cast<int32_t>(i * (data.n_tokens - later) / n);
        }
        std::vector<float> inputs(static_cast<size_t>(n * data.n_columns)),
            outputs(static_cast<size_t>(n * data.n_rows));
        data.fill(tokens.data(), n, inputs.data(), outputs.data());
        apply_map(inputs.data(), weights.data(), n, data.n_columns, data.n_rows, outputs.data());
        int64_t n_named = 0, n_chosen = 0;
        for (int64_t i = 0; i < n; i++) {
            const std::vector<int32_t> chosen = choices.chosen(tokens[static_cast<size_t>(i)] + later);
            most_likely(outputs.data() + i * data.n_rows, static_cast<size_t>(data.n_rows), chosen.size(), &named);
            n_chosen += static_cast<int64_t>(chosen.size());
            for (const int32_t expert : chosen) {
                n_named += std::count(named.begin(), named.end(), expert);
            }
        }
        return static_cast<double>(n_named) / static_cast<double>(std::max<int64_t>(1, n_chosen));
    }

    Status start_from_router(size_t target, int64_t n_input, const SoftmaxMapData & data,
                             std::vector<float> * weights) const {
        const Result<RouterWeights> router = read_router(source_, shape_of(target).layer, n_input, data.n_rows);
        if (!router.is_ok()) {
            return router.status();
        }
        for (int64_t row = 0; router.value().known() && row < data.n_rows; row++) {
            std::copy_n(router.value().values.data() + row * n_input, n_input, weights->data() + row * data.n_columns);
        }
        return Status::ok();
    }

    const GgufSource & source_;
    const ActivationSpill & spill_;
    int32_t n_ctx_;
    int n_threads_;
    std::vector<size_t> places_;  // in the spill, of the layers that are evaluated
    std::map<size_t, std::shared_ptr<const ChoiceDistribution>> choices_;  // by position
    std::atomic<bool> stop_{false};
};

// Which of the source's layers are evaluated is not known without a graph; those for multi-token prediction, which come
// last, are not.
std::vector<const ExpertLayer *> evaluated_layers(const GgufSource & source) {
    const int64_t n_layers =
        source.architecture_integer("block_count", 0) - source.architecture_integer("nextn_predict_layers", 0);
    std::vector<const ExpertLayer *> layers;
    for (const ExpertLayer & layer : source.experts().layers()) {
        if (layer.layer < n_layers) {
            layers.push_back(&layer);
        }
    }
    return layers;
}

}  // namespace

Result<ExpertMaps> untrained_maps(const GgufSource & source, MapContent content) {
    const std::vector<const ExpertLayer *> layers = evaluated_layers(source);
    ExpertMaps maps;
    for (size_t position = 0; position < layers.size() && layers.size() > 1; position++) {
        LayerMap map;
        map.layer = layers[position]->layer;
        map.n_input = input_columns(*layers[position]);
        map.n_experts = static_cast<int32_t>(layers[position]->experts.size());
        map.trained = false;
        // Of the next token these inputs say nothing as they are.
        for (size_t d = 0; d < map.targets.size() && position + d + 1 < layers.size(); d++) {
            const ExpertLayer & target = *layers[position + d + 1];
            const auto n_experts = static_cast<int32_t>(target.experts.size());
            map.targets[d] = {target.layer, n_experts, std::min(n_experts, source.experts().n_experts_used())};
        }
        if (map.n_rows() == 0) {
            break;  // the last layer
        }
        std::vector<float> weights;
        if (content == MapContent::kWeights) {
            weights.resize(static_cast<size_t>(map.n_rows() * map.n_columns()), 0.0F);
        }
        for (int32_t distance = 1; distance <= kMapDistances; distance++) {
            const LayerMap::Target & target = map.targets[static_cast<size_t>(distance - 1)];
            if (target.n_experts == 0) {
                continue;
            }
            if (!has_router(source, target.layer, map.n_input, target.n_experts)) {
                return ExpertMaps();
            }
            if (content == MapContent::kShapes) {
                continue;
            }
            const Result<RouterWeights> router = read_router(source, target.layer, map.n_input, target.n_experts);
            if (!router.is_ok()) {
                return router.status();
            }
            float * rows = weights.data() + map.first_row(distance) * map.n_columns();
            for (int64_t row = 0; row < target.n_experts; row++) {
                std::copy_n(router.value().values.data() + row * map.n_input, map.n_input,
                            rows + row * map.n_columns());
            }
        }
        if (content == MapContent::kWeights) {
            map.from_float(weights);
        }
        maps.layers.push_back(std::move(map));
    }
    return maps;
}

Result<ExpertMaps> train_maps(const GgufSource & source, const ActivationSpill & spill, int32_t n_ctx, int n_threads,
                              const JobProgress & progress) {
    return MapTrainer(source, spill, n_ctx, n_threads).run(progress);
}

}  // namespace edgemoe
