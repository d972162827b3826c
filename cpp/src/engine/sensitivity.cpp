// Three passes: the quadratic forms, layer by layer from the spilled activations; the measured KL divergence of groups;
// the product of both.
#include "engine/sensitivity.h"

#include "engine/expert_moments.h"
#include "engine/expert_weights.h"
#include "engine/group_damage.h"
#include "engine/memory_plan.h"
#include "engine/parallel_work.h"
#include "rounding/feedback_factor.h"
#include "rounding/round_matrix.h"

#include "ggml.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <filesystem>
#include <limits>
#include <map>
#include <memory>

namespace edgemoe {

namespace {

constexpr uint32_t kFeedbackFormula = 1;
constexpr uint32_t kNearestFormula = 2;
constexpr uint32_t kMeasuredFormula = 16;  // added to either

// The type that groups are measured in, where the ladder has no say: low enough to be seen above the noise of few
// tokens, high enough for the quadratic form to hold.
constexpr ggml_type kReferenceTypes[] = {GGML_TYPE_Q3_K, GGML_TYPE_Q4_0};

// Weights of a matrix that are rounded to each type to find its q, at least kLeastRows rows.
constexpr int64_t kSampledWeights = 32768;
constexpr int64_t kLeastRows = 16;

// Held-back tokens of an expert that its own ratio of held-back to fitted error needs to count as much as the mean
// ratio of its layer's.
constexpr double kRatioTokens = 256;

// An expert that the text hardly reaches is counted as if it had this share of its layer's mean traffic.
constexpr double kUnreachedShare = 0.25;

// Measured windows. Of a large model only some layers' groups are measured, and fewer windows.
constexpr uint64_t kLargeModelBytes = uint64_t{2} << 30;
constexpr int64_t kWindows = 24;
constexpr int64_t kWindowsOfLarge = 4;
constexpr size_t kLayersOfLarge = 8;

constexpr float kNone = std::numeric_limits<float>::quiet_NaN();

uint32_t formula_version(const SensitivityOptions & options) {
    return (options.rounding == Rounding::kFeedback ? kFeedbackFormula : kNearestFormula) +
           (options.measured ? kMeasuredFormula : 0);
}

int32_t reference_type(int64_t columns) {
    for (const ggml_type type : kReferenceTypes) {
        if (columns % ggml_blck_size(type) == 0) {
            return type;
        }
    }
    return GGML_TYPE_F16;
}

// Quadratic forms of one matrix, by type, and of the reference type rounded plainly.
struct MatrixError {
    std::vector<double> fitted;  // per unit of weight, of the inputs that were fitted to
    std::vector<double> held;    // the same, of those held back; 0 where there are none
    double fitted_reference = 0;
    double held_weight = 0;  // in tokens
    double total_weight = 0;
};

// [experts, kProjectionCount] of one layer.
using LayerErrors = std::vector<std::array<MatrixError, kProjectionCount>>;

struct Work {
    const GgufSource & source;
    const Profile & profile;
    const CalibrationSplit & split;
    const ActivationSpill & spill;
    const SensitivityOptions & options;
    int n_threads;
};

// The factors of one set of moments, by group, made when first wanted.
class Factors {
public:
    explicit Factors(const ExpertMoments & moments) : moments_(moments) {}

    // nullptr, with *status ok, for a type without error feedback.
    const FeedbackFactor * for_type(int32_t type, Status * status) {
        if (!can_round(type)) {
            return nullptr;
        }
        const int64_t group = feedback_group(type);
        auto found = factors_.find(group);
        if (found == factors_.end()) {
            Result<FeedbackFactor> made = FeedbackFactor::make(moments_.fitted, moments_.damping, group);
            if (!made.is_ok()) {
                *status = made.status();
                return nullptr;
            }
            found = factors_.emplace(group, std::make_unique<FeedbackFactor>(std::move(made).value())).first;
        }
        return found->second.get();
    }

private:
    const ExpertMoments & moments_;
    std::map<int64_t, std::unique_ptr<FeedbackFactor>> factors_;
};

Status matrix_error(const Work & work, ExpertId id, Projection projection, const ExpertMoments & moments,
                    Factors * factors, MatrixError * error) {
    const ExpertPart & part = work.source.experts().parts(id)[static_cast<size_t>(projection)];
    Result<std::vector<float>> matrix = read_expert_matrix(work.source, id, projection);
    if (!matrix.is_ok()) {
        return matrix.status();
    }
    const std::vector<int64_t> rows =
        evenly_spaced(part.rows, std::max(kLeastRows, kSampledWeights / part.columns));
    const std::vector<float> sample = gather_rows(matrix.value(), part.columns, rows);
    const auto n_rows = static_cast<int64_t>(rows.size());
    const double scale = static_cast<double>(part.rows) / static_cast<double>(n_rows);
    const std::vector<float> importance = moments.importance();
    std::vector<std::byte> blocks;
    const auto round = [&](int32_t type, const FeedbackFactor * factor) {
        blocks.resize(static_cast<size_t>(n_rows) * ggml_row_size(static_cast<ggml_type>(type), part.columns));
        return round_matrix(type, sample.data(), n_rows, part.columns, importance.data(), factor, 1, blocks.data());
    };
    const auto judge = [&](int32_t type, const InputMoments & inputs) {
        return inputs.total_weight() > 0 ? scale * quadratic_error(type, sample.data(), blocks.data(), n_rows, inputs, 1) /
                                               inputs.total_weight()
                                         : 0.0;
    };
    error->fitted.assign(work.options.types.size(), std::numeric_limits<double>::quiet_NaN());
    error->held = error->fitted;
    for (size_t i = 0; i < work.options.types.size(); i++) {
        const int32_t type = work.options.types[i];
        if (part.columns % ggml_blck_size(static_cast<ggml_type>(type)) != 0) {
            continue;
        }
        Status status;
        const FeedbackFactor * factor =
            work.options.rounding == Rounding::kFeedback ? factors->for_type(type, &status) : nullptr;
        if (status.is_ok()) {
            status = round(type, factor);
        }
        if (!status.is_ok()) {
            return status;
        }
        error->fitted[i] = judge(type, moments.fitted);
        error->held[i] = judge(type, moments.held);
    }
    const int32_t reference = reference_type(part.columns);
    Status status = round(reference, nullptr);
    if (status.is_ok()) {
        error->fitted_reference = judge(reference, moments.fitted);
    }
    return status;
}

Status expert_errors(const Work & work, const LayerActivations & activations, const LayerProfile & profile,
                     const MomentsPrior & prior, ExpertMomentsReader * reader, int32_t expert,
                     std::array<MatrixError, kProjectionCount> * errors) {
    const ExpertId id{activations.shape.layer, expert};
    const ExpertParts & parts = work.source.experts().parts(id);
    for (const bool down : {false, true}) {
        std::optional<ExpertMoments> moments;
        std::optional<Factors> factors;
        for (size_t p = 0; p < kProjectionCount; p++) {
            const auto projection = static_cast<Projection>(p);
            if (!parts[p].present || (projection == Projection::kDown) != down) {
                continue;
            }
            if (!moments) {
                Result<ExpertMoments> read = reader->read(activations, prior, expert, projection, parts[p].columns);
                if (!read.is_ok()) {
                    return read.status();
                }
                moments.emplace(std::move(read).value());
                factors.emplace(*moments);
            }
            MatrixError & error = (*errors)[p];
            Status status = matrix_error(work, id, projection, *moments, &*factors, &error);
            if (!status.is_ok()) {
                return status;
            }
            const auto position = static_cast<size_t>(expert);
            const double least_weight =
                profile.counts[position] < kFewTokens ? kUnreachedShare * prior.mean_weight() : 0.0;
            error.total_weight = std::max(profile.total_weight[position], least_weight);
            error.held_weight = static_cast<double>(moments->n_held);
        }
    }
    return Status::ok();
}

Result<LayerErrors> layer_errors(const Work & work, size_t position, const std::function<bool(double)> & report) {
    Result<LayerActivations> activations = work.spill.read_layer(position);
    if (!activations.is_ok()) {
        return activations.status();
    }
    const LayerProfile & profile = work.profile.layers[position];
    const MomentsPrior prior = MomentsPrior::of(activations.value(), profile, work.split, work.n_threads);
    std::vector<std::unique_ptr<ExpertMomentsReader>> readers;
    for (int i = 0; i < work.n_threads; i++) {
        readers.push_back(std::make_unique<ExpertMomentsReader>(work.source, work.split));
    }
    LayerErrors errors(static_cast<size_t>(activations.value().shape.n_experts));
    Status status = run_in_parallel(
        errors.size(), work.n_threads,
        [&](size_t expert, int thread) {
            return expert_errors(work, activations.value(), profile, prior, readers[static_cast<size_t>(thread)].get(),
                                 static_cast<int32_t>(expert), &errors[expert]);
        },
        [&](size_t n_done) { return report(static_cast<double>(n_done) / static_cast<double>(errors.size())); });
    if (!status.is_ok()) {
        return status;
    }
    return errors;
}

// q of every type, from the fitted and the held-back errors: [experts, kProjectionCount, types].
std::vector<float> quadratic_forms(const LayerErrors & errors, size_t n_types) {
    std::vector<float> forms(errors.size() * kProjectionCount * n_types, kNone);
    for (size_t p = 0; p < kProjectionCount; p++) {
        for (size_t t = 0; t < n_types; t++) {
            // How much worse the held-back inputs fare than the fitted ones, over the layer.
            double held = 0;
            double fitted = 0;
            for (const auto & expert : errors) {
                if (!expert[p].fitted.empty() && expert[p].held_weight > 0 && std::isfinite(expert[p].fitted[t])) {
                    held += expert[p].held[t] * expert[p].total_weight;
                    fitted += expert[p].fitted[t] * expert[p].total_weight;
                }
            }
            const double ratio = held > 0 && fitted > 0 ? held / fitted : 1.0;
            for (size_t e = 0; e < errors.size(); e++) {
                const MatrixError & error = errors[e][p];
                if (!error.fitted.empty() && std::isfinite(error.fitted[t])) {
                    const double expected = ratio * error.fitted[t];
                    const double own = (error.held_weight * error.held[t] + kRatioTokens * expected) /
                                       (error.held_weight + kRatioTokens);
                    forms[(e * kProjectionCount + p) * n_types + t] = static_cast<float>(own * error.total_weight);
                }
            }
        }
    }
    return forms;
}

// Layers whose groups are measured: all, or evenly spaced ones with the first and the last.
std::vector<size_t> measured_layers(const std::vector<size_t> & evaluated, bool large) {
    if (!large || evaluated.size() <= kLayersOfLarge) {
        return evaluated;
    }
    std::vector<size_t> layers;
    for (size_t i = 0; i < kLayersOfLarge; i++) {
        layers.push_back(evaluated[i * (evaluated.size() - 1) / (kLayersOfLarge - 1)]);
    }
    return layers;
}

// scale(l, p) of all layers, from those measured: linear in its logarithm between neighbours.
std::vector<double> interpolated(const std::map<size_t, double> & measured, size_t n_layers) {
    std::vector<double> scales(n_layers, 1.0);
    for (size_t layer = 0; layer < n_layers && !measured.empty(); layer++) {
        const auto above = measured.lower_bound(layer);
        if (above == measured.end()) {
            scales[layer] = measured.rbegin()->second;
        } else if (above->first == layer || above == measured.begin()) {
            scales[layer] = above->second;
        } else {
            const auto below = std::prev(above);
            const double at = static_cast<double>(layer - below->first) / static_cast<double>(above->first - below->first);
            scales[layer] = std::exp((1 - at) * std::log(below->second) + at * std::log(above->second));
        }
    }
    return scales;
}

std::string lower_case(std::string text) {
    for (char & c : text) {
        c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    }
    return text;
}

}  // namespace

std::vector<int32_t> default_ladder() {
    return {GGML_TYPE_IQ1_M,   GGML_TYPE_IQ2_XXS, GGML_TYPE_IQ2_XS, GGML_TYPE_IQ2_S,  GGML_TYPE_Q2_K,
            GGML_TYPE_IQ3_XXS, GGML_TYPE_IQ3_S,   GGML_TYPE_Q3_K,   GGML_TYPE_IQ4_XS, GGML_TYPE_IQ4_NL,
            GGML_TYPE_Q4_0,    GGML_TYPE_Q4_K,    GGML_TYPE_Q5_0,   GGML_TYPE_Q5_K,   GGML_TYPE_Q6_K,
            GGML_TYPE_Q8_0};
}

Result<std::vector<int32_t>> parse_ladder(const std::string & names) {
    std::vector<int32_t> types;
    for (size_t begin = 0; begin <= names.size();) {
        const size_t end = std::min(names.find(',', begin), names.size());
        const std::string name = lower_case(names.substr(begin, end - begin));
        int32_t type = -1;
        for (int32_t i = 0; i < GGML_TYPE_COUNT; i++) {
            const char * known = ggml_type_name(static_cast<ggml_type>(i));
            if (known != nullptr && !name.empty() && lower_case(known) == name) {
                type = i;
            }
        }
        if (type < 0 || ggml_get_type_traits(static_cast<ggml_type>(type))->to_float == nullptr) {
            return Status(StatusCode::kInvalidArgument,
                          "no ggml type that weights can have is called \"" + name + "\"; try IQ2_XS,IQ3_S,IQ4_XS");
        }
        if (std::find(types.begin(), types.end(), type) == types.end()) {
            types.push_back(type);
        }
        begin = end + 1;
    }
    return types;
}

bool covers(const SensitivityTable & table, const SensitivityOptions & options) {
    return table.formula_version == formula_version(options) &&
           std::all_of(options.types.begin(), options.types.end(), [&](int32_t type) {
               return std::find(table.types.begin(), table.types.end(), type) != table.types.end();
           });
}

Result<SensitivityTable> estimate_sensitivity(const GgufSource & source, const Profile & profile,
                                              const CalibrationSplit & split, const ActivationSpill & spill,
                                              const SensitivityOptions & options, const JobProgress & progress) {
    const Work work{source, profile, split, spill, options, thread_count(options.load)};
    const size_t n_layers = profile.layers.size();
    const size_t n_types = options.types.size();
    SensitivityTable table;
    table.formula_version = formula_version(options);
    table.formula = std::string("measured KL of (layer, projection) * share of the quadratic form of the error, ") +
                    (options.rounding == Rounding::kFeedback ? "error feedback" : "ggml's rounding") +
                    (options.measured ? ", scaled to one expert lowered at a time" : "");
    table.types = options.types;
    table.damage.resize(n_layers);
    table.group_kl.assign(n_layers * kProjectionCount * n_types, kNone);

    std::vector<size_t> evaluated;
    std::vector<LayerErrors> errors(n_layers);
    ProgressMeter meter(progress, "errors of each type");
    for (size_t layer = 0; layer < n_layers; layer++) {
        if (!profile.layers[layer].evaluated) {
            continue;
        }
        evaluated.push_back(layer);
        Result<LayerErrors> found = layer_errors(work, layer, [&](double part) {
            return meter.report((static_cast<double>(layer) + part) / static_cast<double>(n_layers));
        });
        if (!found.is_ok()) {
            return found.status();
        }
        errors[layer] = std::move(found).value();
        table.damage[layer] = quadratic_forms(errors[layer], n_types);
    }

    const bool large = source.experts().total_bytes() > kLargeModelBytes;
    const std::string folder = std::filesystem::path(spill.path()).parent_path().string();
    Result<std::unique_ptr<GroupDamage>> groups =
        GroupDamage::create(source, profile, split.fitted_tokens(profile.tokens, large ? kWindowsOfLarge : kWindows),
                            options.load, folder.empty() ? "." : folder);
    if (!groups.is_ok()) {
        return groups.status();
    }
    GroupDamage & damage = *groups.value();
    const std::vector<size_t> measured = measured_layers(evaluated, large);
    ProgressMeter group_meter(progress, "damage of each group");
    for (size_t p = 0; p < kProjectionCount; p++) {
        const auto projection = static_cast<Projection>(p);
        std::map<size_t, double> scales;
        for (size_t i = 0; i < measured.size(); i++) {
            const size_t layer = measured[i];
            double form = 0;
            int64_t columns = 0;
            for (size_t e = 0; e < errors[layer].size(); e++) {
                const ExpertId id{profile.layers[layer].routing.layer, static_cast<int32_t>(e)};
                if (source.experts().parts(id)[p].present) {
                    columns = source.experts().parts(id)[p].columns;
                    form += errors[layer][e][p].fitted_reference * profile.layers[layer].total_weight[e];
                }
            }
            if (columns == 0) {
                continue;
            }
            const double begin = static_cast<double>(p * measured.size() + i);
            const double n_all = static_cast<double>(kProjectionCount * measured.size());
            const int32_t type = reference_type(columns);
            const Result<double> kl =
                damage.of_projection(profile.layers[layer].routing.layer, projection, type,
                                     [&](const char *, double fraction, double) {
                                         return group_meter.report((begin + fraction) / n_all);
                                     });
            if (!kl.is_ok()) {
                return kl.status();
            }
            const auto column = std::find(options.types.begin(), options.types.end(), type);
            if (column != options.types.end()) {
                table.group_kl[(layer * kProjectionCount + p) * n_types +
                               static_cast<size_t>(column - options.types.begin())] = static_cast<float>(kl.value());
            }
            if (form > 0 && kl.value() > 0) {
                scales[layer] = kl.value() / form;
            }
        }
        const std::vector<double> all = interpolated(scales, n_layers);
        for (const size_t layer : evaluated) {
            for (size_t e = 0; e < errors[layer].size(); e++) {
                for (size_t t = 0; t < n_types; t++) {
                    float & cell = table.damage[layer][(e * kProjectionCount + p) * n_types + t];
                    cell = static_cast<float>(cell * all[layer]);
                }
                errors[layer][e][p].fitted_reference *= all[layer];
            }
        }
    }
    if (options.measured) {
        ProgressMeter expert_meter(progress, "damage of each expert");
        for (const size_t layer : evaluated) {
            for (size_t e = 0; e < errors[layer].size(); e++) {
                const ExpertId id{profile.layers[layer].routing.layer, static_cast<int32_t>(e)};
                const ExpertParts & parts = source.experts().parts(id);
                double expected = 0;
                int64_t columns = 0;
                for (size_t p = 0; p < kProjectionCount; p++) {
                    expected += errors[layer][e][p].fitted_reference * profile.layers[layer].total_weight[e];
                    columns = parts[p].present ? parts[p].columns : columns;
                }
                const double done = (static_cast<double>(layer) +
                                     static_cast<double>(e) / static_cast<double>(errors[layer].size())) /
                                    static_cast<double>(n_layers);
                const Result<double> kl =
                    damage.of_expert(id, reference_type(columns),
                                     [&](const char *, double, double) { return expert_meter.report(done); });
                if (!kl.is_ok()) {
                    return kl.status();
                }
                if (expected > 0 && kl.value() > 0) {
                    for (size_t i = 0; i < kProjectionCount * n_types; i++) {
                        float & cell = table.damage[layer][e * kProjectionCount * n_types + i];
                        cell = static_cast<float>(cell * kl.value() / expected);
                    }
                }
            }
        }
    }
    table.group_tokens = damage.n_scored();
    return table;
}

}  // namespace edgemoe
