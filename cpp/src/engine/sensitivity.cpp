// Three passes: the quadratic forms, layer by layer from the spilled activations; the measured KL divergence of groups;
// the product of both.
#include "engine/sensitivity.h"

#include "engine/group_damage.h"
#include "engine/memory_plan.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <map>
#include <memory>

namespace edgemoe {

namespace {

constexpr uint32_t kFeedbackFormula = 3;
constexpr uint32_t kNearestFormula = 4;
constexpr uint32_t kMeasuredFormula = 16;  // added to either

// Measured windows. Of a large model only some layers' groups are measured, and fewer windows.
constexpr uint64_t kLargeModelBytes = uint64_t{2} << 30;
constexpr int64_t kWindows = 12;
constexpr int64_t kWindowsOfLarge = 4;
constexpr size_t kLayersOfLarge = 8;

constexpr float kNone = std::numeric_limits<float>::quiet_NaN();

uint32_t formula_version(const SensitivityOptions & options) {
    return (options.rounding == Rounding::kFeedback ? kFeedbackFormula : kNearestFormula) +
           (options.measured ? kMeasuredFormula : 0);
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
            const double at =
                static_cast<double>(layer - below->first) / static_cast<double>(above->first - below->first);
            scales[layer] = std::exp((1 - at) * std::log(below->second) + at * std::log(above->second));
        }
    }
    return scales;
}

// What the passes share.
class Estimate {
public:
    Estimate(const GgufSource & source, const Profile & profile, const SensitivityOptions & options)
        : source_(source), profile_(profile), options_(options), forms_(profile.layers.size()) {
        table_.formula_version = formula_version(options);
        table_.formula = std::string(
                             "measured KL of a (layer, projection) * its share of the error's quadratic form, inputs' "
                             "rounding included, ") +
                         (options.rounding == Rounding::kFeedback ? "error feedback" : "ggml's rounding") +
                         (options.measured ? ", scaled to experts lowered one at a time" : "");
        table_.types = options.types;
        table_.damage.resize(forms_.size());
        table_.group_kl.assign(forms_.size() * kProjectionCount * options.types.size(), kNone);
        for (size_t layer = 0; layer < forms_.size(); layer++) {
            if (profile.layers[layer].evaluated) {
                evaluated_.push_back(layer);
            }
        }
    }

    Status find_forms(const CalibrationSplit & split, const ActivationSpill & spill, const JobProgress & progress);
    Status scale_groups(GroupDamage * damage, bool large, const JobProgress & progress);
    Status scale_experts(GroupDamage * damage, const JobProgress & progress);
    SensitivityTable & table() { return table_; }

private:
    size_t n_types() const { return options_.types.size(); }
    size_t n_experts(size_t layer) const { return forms_[layer].reference.size() / kProjectionCount; }
    ExpertId id(size_t layer, size_t expert) const {
        return {profile_.layers[layer].routing.layer, static_cast<int32_t>(expert)};
    }
    int64_t columns(size_t layer, size_t projection) const {
        const ExpertPart & part = source_.experts().parts(id(layer, 0))[projection];
        return part.present ? part.columns : 0;
    }
    void multiply(size_t layer, size_t expert, size_t projection, double factor) {
        float * cells = &table_.damage[layer][(expert * kProjectionCount + projection) * n_types()];
        std::transform(cells, cells + n_types(), cells,
                       [factor](float cell) { return static_cast<float>(cell * factor); });
        forms_[layer].reference[expert * kProjectionCount + projection] *= factor;
    }

    const GgufSource & source_;
    const Profile & profile_;
    const SensitivityOptions & options_;
    std::vector<QuadraticForms> forms_;  // by layer; the forms themselves move to the table
    std::vector<size_t> evaluated_;
    SensitivityTable table_;
};

Status Estimate::find_forms(const CalibrationSplit & split, const ActivationSpill & spill,
                            const JobProgress & progress) {
    const QuadraticFormInputs inputs{
        source_, profile_, split, spill, options_.types, options_.rounding, thread_count(options_.load)};
    ProgressMeter meter(progress, "errors of each type");
    for (const size_t layer : evaluated_) {
        Result<QuadraticForms> found = quadratic_forms(inputs, layer, [&](double part) {
            return meter.report((static_cast<double>(layer) + part) / static_cast<double>(forms_.size()));
        });
        if (!found.is_ok()) {
            return found.status();
        }
        forms_[layer] = std::move(found).value();
        table_.damage[layer] = std::move(forms_[layer].forms);
    }
    return Status::ok();
}

Status Estimate::scale_groups(GroupDamage * damage, bool large, const JobProgress & progress) {
    const std::vector<size_t> measured = measured_layers(evaluated_, large);
    ProgressMeter meter(progress, "damage of each layer");
    for (size_t p = 0; p < kProjectionCount; p++) {
        std::map<size_t, double> scales;
        for (size_t i = 0; i < measured.size(); i++) {
            const size_t layer = measured[i];
            if (columns(layer, p) == 0) {
                continue;
            }
            const int32_t type = reference_type(columns(layer, p));
            const double n_all = static_cast<double>(kProjectionCount * measured.size());
            const Result<double> kl = damage->of_projection(
                id(layer, 0).layer, static_cast<Projection>(p), type, [&](const char *, double fraction, double) {
                    return meter.report((static_cast<double>(p * measured.size() + i) + fraction) / n_all);
                });
            if (!kl.is_ok()) {
                return kl.status();
            }
            const auto column = std::find(options_.types.begin(), options_.types.end(), type);
            if (column != options_.types.end()) {
                table_.group_kl[(layer * kProjectionCount + p) * n_types() +
                                static_cast<size_t>(column - options_.types.begin())] = static_cast<float>(kl.value());
            }
            double form = 0;
            for (size_t expert = 0; expert < n_experts(layer); expert++) {
                form += forms_[layer].reference[expert * kProjectionCount + p];
            }
            if (form > 0 && kl.value() > 0) {
                scales[layer] = kl.value() / form;
            }
        }
        const std::vector<double> all = interpolated(scales, forms_.size());
        for (const size_t layer : evaluated_) {
            for (size_t expert = 0; expert < n_experts(layer); expert++) {
                multiply(layer, expert, p, all[layer]);
            }
        }
    }
    return Status::ok();
}

Status Estimate::scale_experts(GroupDamage * damage, const JobProgress & progress) {
    ProgressMeter meter(progress, "damage of each expert");
    for (size_t i = 0; i < evaluated_.size(); i++) {
        const size_t layer = evaluated_[i];
        for (size_t expert = 0; expert < n_experts(layer); expert++) {
            double expected = 0;
            int64_t width = 0;
            for (size_t p = 0; p < kProjectionCount; p++) {
                if (columns(layer, p) != 0) {
                    expected += forms_[layer].reference[expert * kProjectionCount + p];
                    width = columns(layer, p);
                }
            }
            const double done =
                (static_cast<double>(i) + static_cast<double>(expert) / static_cast<double>(n_experts(layer))) /
                static_cast<double>(evaluated_.size());
            const Result<double> kl =
                damage->of_expert(id(layer, expert), reference_type(width),
                                  [&](const char *, double, double) { return meter.report(done); });
            if (!kl.is_ok()) {
                return kl.status();
            }
            for (size_t p = 0; p < kProjectionCount && expected > 0 && kl.value() > 0; p++) {
                multiply(layer, expert, p, kl.value() / expected);
            }
        }
    }
    return Status::ok();
}

}  // namespace

bool covers(const SensitivityTable & table, const SensitivityOptions & options) {
    return table.formula_version == formula_version(options) &&
           std::all_of(options.types.begin(), options.types.end(), [&](int32_t type) {
               return std::find(table.types.begin(), table.types.end(), type) != table.types.end();
           });
}

Result<SensitivityTable> estimate_sensitivity(const GgufSource & source, const Profile & profile,
                                              const CalibrationSplit & split, const ActivationSpill & spill,
                                              const SensitivityOptions & options, const JobProgress & progress) {
    Estimate estimate(source, profile, options);
    Status status = estimate.find_forms(split, spill, progress);
    if (!status.is_ok()) {
        return status;
    }
    const bool large = source.experts().total_bytes() > kLargeModelBytes;
    const std::string folder = std::filesystem::path(spill.path()).parent_path().string();
    Result<std::unique_ptr<GroupDamage>> damage =
        GroupDamage::create(source, profile, split.fitted_tokens(profile.tokens, large ? kWindowsOfLarge : kWindows),
                            options.load, folder.empty() ? "." : folder);
    if (!damage.is_ok()) {
        return damage.status();
    }
    status = estimate.scale_groups(damage.value().get(), large, progress);
    if (status.is_ok() && options.measured) {
        status = estimate.scale_experts(damage.value().get(), progress);
    }
    if (!status.is_ok()) {
        return status;
    }
    estimate.table().group_tokens = damage.value()->n_scored();
    return std::move(estimate.table());
}

}  // namespace edgemoe
