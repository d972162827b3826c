#include "engine/prediction_report.h"

#include "base/parallel_for.h"
#include "engine/json_text.h"
#include "engine/map_features.h"
#include "engine/memory_plan.h"
#include "engine/profile.h"
#include "engine/profile_run.h"
#include "engine/router_weights.h"
#include "fitting/softmax_map.h"
#include "predict/predictor.h"
#include "store/slot_sizes.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <numeric>

namespace edgemoe {

namespace {

constexpr int64_t kBlockTokens = 1024;
constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

// What every layer of a text chose.
struct Routing {
    std::vector<SpillLayer> layers;
    std::vector<std::vector<int16_t>> ids;  // by layer
    int64_t n_tokens = 0;
    int32_t n_ctx = 0;

    size_t size() const { return layers.size(); }
    std::vector<int32_t> chosen(size_t position, int64_t token) const {
        return chosen_of(ids[position], token, layers[position].n_used);
    }
};

// A layer and one that comes `distance` layers later.
struct Pair {
    size_t position = 0;
    size_t target = 0;
    int64_t later = 0;  // tokens

    Pair(const Routing & routing, size_t present, int32_t distance)
        : position(present),
          target((present + static_cast<size_t>(distance)) % routing.size()),
          later(static_cast<int64_t>((present + static_cast<size_t>(distance)) / routing.size())) {}
};

// The experts that are known when a token's layer has chosen, kept for as long as a PredictionInput borrows them.
struct KnownRouting {
    std::vector<int32_t> present, before, target_last, chosen;

    // False where the target is of another window.
    bool take(const Routing & routing, const Pair & pair, int64_t token) {
        const int64_t in_window = token % routing.n_ctx;
        if (in_window + pair.later >= routing.n_ctx) {
            return false;
        }
        present = routing.chosen(pair.position, token);
        before.clear();
        if (pair.position > 0) {
            before = routing.chosen(pair.position - 1, token);
        } else if (in_window > 0) {
            before = routing.chosen(routing.size() - 1, token - 1);
        }
        target_last.clear();
        if (in_window + pair.later > 0) {
            target_last = routing.chosen(pair.target, token + pair.later - 1);
        }
        chosen = routing.chosen(pair.target, token + pair.later);
        return true;
    }

    PredictionInput input() const {
        PredictionInput input;
        input.present = {present.data(), present.size()};
        input.before = {before.data(), before.size()};
        input.target_last = {target_last.data(), target_last.size()};
        return input;
    }
};

// Hits of one predictor for one pair of layers.
struct Count {
    int64_t n_chosen = 0;
    int64_t n_hits = 0;

    void add(const std::vector<int32_t> & named, const std::vector<int32_t> & chosen) {
        n_chosen += std::count_if(chosen.begin(), chosen.end(), [](int32_t expert) { return expert >= 0; });
        for (const int32_t expert : chosen) {
            n_hits += expert >= 0 ? std::count(named.begin(), named.end(), expert) : 0;
        }
    }
    double share() const { return n_chosen > 0 ? static_cast<double>(n_hits) / static_cast<double>(n_chosen) : kNone; }
};

// All predictors for one pair of layers, over a text.
class PairJudge {
public:
    PairJudge(const Routing & routing, Pair pair) : routing_(routing), pair_(pair) {
        PredictorShape shape;
        shape.n_present = routing.layers[pair.position].n_experts;
        shape.n_before = routing.layers[(pair.position + routing.size() - 1) % routing.size()].n_experts;
        shape.n_experts = routing.layers[pair.target].n_experts;
        for (const std::string & name : predictor_names()) {
            predictors_.push_back(make_predictor(name, shape));
        }
        counts_.resize(predictors_.size());
        scores_.resize(static_cast<size_t>(shape.n_experts));
    }

    void learn(const Routing & fitted) {
        for (int64_t token = 0; token < fitted.n_tokens; token++) {
            if (!known_.take(fitted, pair_, token)) {
                continue;
            }
            for (const auto & predictor : predictors_) {
                predictor->learn(known_.input(), {known_.chosen.data(), known_.chosen.size()});
            }
        }
    }

    // router, look_ahead: logits of this token, or nullptr.
    void judge(int64_t token, const float * router, const float * look_ahead) {
        if (!known_.take(routing_, pair_, token)) {
            return;
        }
        PredictionInput input = known_.input();
        input.router = router;
        input.look_ahead = look_ahead;
        for (size_t i = 0; i < predictors_.size(); i++) {
            if (predictors_[i]->score(input, scores_.data())) {
                most_likely(scores_.data(), scores_.size(), known_.chosen.size(), &named_);
                counts_[i].add(named_, known_.chosen);
            }
            predictors_[i]->learn(input, {known_.chosen.data(), known_.chosen.size()});
        }
    }

    double share(size_t predictor) const { return counts_[predictor].share(); }
    const Pair & pair() const { return pair_; }

private:
    const Routing & routing_;
    Pair pair_;
    std::vector<std::unique_ptr<Predictor>> predictors_;
    std::vector<Count> counts_;
    KnownRouting known_;
    std::vector<float> scores_;
    std::vector<int32_t> named_;
};

class PredictionJudge {
public:
    PredictionJudge(const GgufSource & source, const Profile & profile, const ActivationSpill & spill, int n_threads)
        : source_(source), profile_(profile), spill_(spill), n_threads_(n_threads) {}

    Result<PredictionReport> run(const PredictionOptions & options, const JobProgress & progress) {
        Status status = read_routing();
        if (!status.is_ok()) {
            return status;
        }
        PredictionReport report;
        report.n_tokens = routing_.n_tokens;
        report.n_fitted_tokens = fitted_.n_tokens;
        report.predictors.resize(predictor_names().size());
        for (size_t i = 0; i < report.predictors.size(); i++) {
            report.predictors[i].predictor = predictor_names()[i];
        }
        trace_.steps.resize(static_cast<size_t>(routing_.n_tokens));
        ProgressMeter meter(progress, "judging predictors");
        for (size_t position = 0; position < routing_.size(); position++) {
            status = judge_layer(position, &report, [&](double fraction) {
                return meter.report((static_cast<double>(position) + fraction) / static_cast<double>(routing_.size()));
            });
            if (!status.is_ok()) {
                return status;
            }
        }
        take_means(&report);
        status = replay_text(options, &report);
        return status.is_ok() ? Result<PredictionReport>(std::move(report)) : Result<PredictionReport>(status);
    }

private:
    Status read_routing() {
        routing_.n_tokens = spill_.shape().n_tokens;
        routing_.n_ctx = fitted_.n_ctx = profile_.n_ctx;
        for (size_t i = 0; i < spill_.shape().layers.size(); i++) {
            const SpillLayer & layer = spill_.shape().layers[i];
            const LayerProfile * fitted = profile_.find(layer.layer);
            if (!spill_.facts(i).seen || fitted == nullptr || !fitted->evaluated) {
                continue;
            }
            Result<LayerActivations> activations = spill_.read_routing(i);
            if (!activations.is_ok()) {
                return activations.status();
            }
            places_.push_back(i);
            routing_.layers.push_back(layer);
            routing_.ids.push_back(std::move(activations.value().ids));
            fitted_.layers.push_back(layer);
            fitted_.ids.push_back(fitted->routing.ids);
            fitted_.n_tokens = static_cast<int64_t>(fitted->routing.n_tokens());
        }
        if (routing_.size() < 2) {
            return Status(StatusCode::kUnsupported,
                          source_.path() + ": has fewer than two layers with experts: there is nothing to predict");
        }
        return Status::ok();
    }

    Status judge_layer(size_t position, PredictionReport * report, const std::function<bool(double)> & tell) {
        const Result<LayerActivations> read = spill_.read_layer(places_[position]);
        if (!read.is_ok()) {
            return read.status();
        }
        const LayerActivations & layer = read.value();
        const MapFeatures features(layer);
        const LayerMap * map = profile_.maps.find(layer.shape.layer);
        const std::vector<float> map_weights = map != nullptr ? map->to_float() : std::vector<float>();
        std::vector<PairJudge> judges;
        // By distance; of distance 0 the layer's own router: the control.
        std::vector<std::vector<float>> routers;
        for (int32_t distance = 0; distance <= kMapDistances; distance++) {
            const Pair pair(routing_, position, distance);
            Result<RouterWeights> router = read_router(source_, routing_.layers[pair.target].layer, layer.shape.columns,
                                                       routing_.layers[pair.target].n_experts);
            if (!router.is_ok()) {
                return router.status();
            }
            routers.push_back(std::move(router.value().values));
            if (distance > 0) {
                judges.emplace_back(routing_, pair);
            }
        }
        parallel_for(static_cast<int64_t>(judges.size()), n_threads_,
                     [&](int64_t i) { judges[static_cast<size_t>(i)].learn(fitted_); });
        Count control;
        std::vector<int32_t> tokens, named;
        std::vector<float> inputs, outputs, own;
        std::vector<std::vector<float>> early(judges.size());
        for (int64_t first = 0; first < routing_.n_tokens; first += kBlockTokens) {
            const int64_t n = std::min(kBlockTokens, routing_.n_tokens - first);
            tokens.resize(static_cast<size_t>(n));
            std::iota(tokens.begin(), tokens.end(), static_cast<int32_t>(first));
            inputs.resize(static_cast<size_t>(n * features.n_columns()));
            features.fill(tokens.data(), n, inputs.data());
            if (map != nullptr) {
                outputs.resize(static_cast<size_t>(n * map->n_rows()));
                apply_map(inputs.data(), map_weights.data(), n, map->n_columns(), map->n_rows(), outputs.data());
                keep_scores(*map, first, n, outputs);
            }
            std::vector<float> plain(static_cast<size_t>(n * layer.shape.columns));
            layer.decode(tokens, plain.data());
            const auto apply_router = [&](const std::vector<float> & router, std::vector<float> * logits) {
                const int64_t n_experts = static_cast<int64_t>(router.size()) / layer.shape.columns;
                logits->resize(static_cast<size_t>(n * n_experts));
                if (n_experts > 0) {
                    apply_map(plain.data(), router.data(), n, layer.shape.columns, n_experts, logits->data());
                }
            };
            apply_router(routers.front(), &own);
            const auto n_experts = static_cast<size_t>(layer.shape.n_experts);
            for (int64_t i = 0; i < n && !own.empty(); i++) {
                const std::vector<int32_t> chosen = routing_.chosen(position, first + i);
                most_likely(own.data() + static_cast<size_t>(i) * n_experts, n_experts, chosen.size(), &named);
                control.add(named, chosen);
            }
            parallel_for(static_cast<int64_t>(judges.size()), n_threads_, [&](int64_t index) {
                const auto d = static_cast<size_t>(index);
                apply_router(routers[d + 1], &early[d]);
                const int64_t n_target = routing_.layers[judges[d].pair().target].n_experts;
                for (int64_t i = 0; i < n; i++) {
                    judges[d].judge(first + i, early[d].empty() ? nullptr : early[d].data() + i * n_target,
                                    map == nullptr ? nullptr
                                                   : outputs.data() + i * map->n_rows() +
                                                         map->first_row(static_cast<int32_t>(index + 1)));
                }
            });
            if (!tell(static_cast<double>(first + n) / static_cast<double>(routing_.n_tokens))) {
                return Status(StatusCode::kCancelled, "cancelled");
            }
        }
        report->layers.push_back(layer.shape.layer);
        report->control.push_back(control.share());
        for (size_t i = 0; i < report->predictors.size(); i++) {
            std::array<double, kMapDistances> shares{};
            for (size_t d = 0; d < judges.size(); d++) {
                shares[d] = judges[d].share(i);
            }
            report->predictors[i].by_layer.push_back(shares);
        }
        add_to_trace(layer);
        return Status::ok();
    }

    // The next use as the eviction policy is told it.
    void keep_scores(const LayerMap & map, int64_t first, int64_t n, const std::vector<float> & outputs) {
        scores_.resize(static_cast<size_t>(routing_.n_tokens) * static_cast<size_t>(map.n_experts));
        for (int64_t i = 0; i < n; i++) {
            float * row = scores_.data() + (first + i) * map.n_experts;
            std::copy_n(outputs.data() + i * map.n_rows() + map.first_row(kNextUse), map.n_experts, row);
            softmax(row, static_cast<size_t>(map.n_experts));
        }
    }

    void add_to_trace(const LayerActivations & layer) {
        const auto n_experts = static_cast<size_t>(layer.shape.n_experts);
        for (int64_t token = 0; token < routing_.n_tokens; token++) {
            TraceLayer served;
            served.layer = layer.shape.layer;
            for (const int32_t expert : chosen_of(layer.ids, token, layer.shape.n_used)) {
                if (expert >= 0) {
                    served.experts.push_back(expert);
                }
            }
            if (!scores_.empty()) {
                const auto row = scores_.begin() + static_cast<std::ptrdiff_t>(static_cast<size_t>(token) * n_experts);
                served.scores.assign(row, row + static_cast<std::ptrdiff_t>(n_experts));
            }
            trace_.steps[static_cast<size_t>(token)].layers.push_back(std::move(served));
        }
        scores_.clear();
    }

    void take_means(PredictionReport * report) const {
        for (PredictorRecall & recall : report->predictors) {
            for (size_t d = 0; d < kMapDistances; d++) {
                double sum = 0, sum_of_all = 0;
                size_t n = 0;
                for (size_t position = 0; position < routing_.size(); position++) {
                    const double share = recall.by_layer[position][d];
                    sum_of_all += share;
                    if (position + d + 1 < routing_.size()) {
                        sum += share;
                        n++;
                    }
                }
                recall.mean[d] = n > 0 ? sum / static_cast<double>(n) : kNone;
                recall.mean_of_all[d] = sum_of_all / static_cast<double>(routing_.size());
            }
        }
    }

    Status replay_text(const PredictionOptions & options, PredictionReport * report) {
        trace_.shape = policy_shape(source_.experts());
        trace_.sizes = slot_sizes(source_.experts());
        ComparisonOptions comparison;
        comparison.policies = options.policies;
        comparison.shares = options.cache_shares;
        if (comparison.policies.empty()) {
            comparison.policies = {"lru", "decayed-frequency", "frequency-distance", "two-timescale"};
            if (!profile_.maps.empty()) {
                comparison.policies.emplace_back("next-use");
            }
        }
        Result<std::vector<ComparisonRow>> rows = compare_policies(trace_, comparison);
        if (rows.is_ok()) {
            report->retention = std::move(rows).value();
        }
        return rows.status();
    }

    const GgufSource & source_;
    const Profile & profile_;
    const ActivationSpill & spill_;
    int n_threads_;
    std::vector<size_t> places_;  // in the spill, by position
    Routing routing_;
    Routing fitted_;             // of the profile
    std::vector<float> scores_;  // of the layer that is being judged, [n_tokens, n_experts]
    RoutingTrace trace_;
};

std::string shares_json(const std::array<double, kMapDistances> & shares) {
    Json json('[');
    for (const double share : shares) {
        json.element(number(share));
    }
    return json.close();
}

}  // namespace

Result<PredictionReport> judge_predictors(const std::string & model, const std::string & profile_path,
                                          const std::string & text, const PredictionOptions & options,
                                          const JobProgress & progress) {
    const Result<Profile> profile = Profile::load(profile_path);
    if (!profile.is_ok()) {
        return profile.status();
    }
    const Result<std::unique_ptr<GgufSource>> source = GgufSource::open(model, false);
    if (!source.is_ok()) {
        return source.status();
    }
    const Result<ModelIdentity> identity = ModelIdentity::of(*source.value());
    if (!identity.is_ok()) {
        return identity.status();
    }
    if (!identity.value().same_network(profile.value().model)) {
        return Status(StatusCode::kInvalidArgument, profile_path + ": is the profile of another model (" +
                                                        profile.value().model.architecture + " " +
                                                        profile.value().model.name + ")");
    }
    const std::string spill_path = options.spill_path.empty() ? profile_path + ".judged" : options.spill_path;
    const Result<CapturedText> captured = capture_text(model, text, static_cast<uint32_t>(profile.value().n_ctx),
                                                       options.n_tokens, spill_path, options.load, progress);
    if (!captured.is_ok()) {
        return captured.status();
    }
    Result<PredictionReport> report =
        PredictionJudge(*source.value(), profile.value(), *captured.value().spill, thread_count(options.load))
            .run(options, progress);
    if (!options.keep_spill && (report.is_ok() || report.status().code() != StatusCode::kCancelled)) {
        ActivationSpill::remove(spill_path);
    }
    return report;
}

std::string to_json(const PredictionReport & report) {
    Json layers('['), control('['), predictors('['), retention('[');
    for (const int32_t layer : report.layers) {
        layers.element(std::to_string(layer));
    }
    for (const double share : report.control) {
        control.element(number(share));
    }
    for (const PredictorRecall & recall : report.predictors) {
        Json by_layer('[');
        for (const auto & shares : recall.by_layer) {
            by_layer.element(shares_json(shares));
        }
        predictors.element(Json('{')
                               .member("predictor", quoted(recall.predictor))
                               .member("mean", shares_json(recall.mean))
                               .member("mean_of_all", shares_json(recall.mean_of_all))
                               .member("by_layer", by_layer.close())
                               .close());
    }
    for (const ComparisonRow & row : report.retention) {
        retention.element(Json('{')
                              .member("policy", quoted(row.policy))
                              .member("cache_bytes", row.cache_bytes)
                              .member("cache_share", row.cache_share)
                              .member("hit_rate", row.hit_rate)
                              .member("missed_bytes_per_token", row.missed_bytes_per_token)
                              .member("ratio_to_lru", row.ratio_to_lru)
                              .member("ratio_to_belady", row.ratio_to_bound)
                              .close());
    }
    return Json('{')
        .member("tokens", static_cast<uint64_t>(report.n_tokens))
        .member("fitted_tokens", static_cast<uint64_t>(report.n_fitted_tokens))
        .member("layers", layers.close())
        .member("control", control.close())
        .member("predictors", predictors.close())
        .member("retention", retention.close())
        .close();
}

}  // namespace edgemoe
