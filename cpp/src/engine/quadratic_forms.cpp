#include "engine/quadratic_forms.h"

#include "engine/expert_moments.h"
#include "engine/expert_weights.h"
#include "engine/feedback_factors.h"
#include "engine/input_rounding.h"
#include "engine/parallel_work.h"
#include "rounding/round_matrix.h"

#include "ggml.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <memory>
#include <optional>

namespace edgemoe {

namespace {

// Weights of a matrix that are rounded to each type to find its q, at least kLeastRows rows.
constexpr int64_t kSampledWeights = 16384;
constexpr int64_t kLeastRows = 16;

// Held-back tokens of an expert that its own ratio of held-back to fitted error needs to count as much as the mean
// ratio of its layer's.
constexpr double kRatioTokens = 256;

// An expert that the text hardly reaches is counted as if it had this share of its layer's mean traffic.
constexpr double kUnreachedShare = 0.25;

constexpr float kNone = std::numeric_limits<float>::quiet_NaN();

// Quadratic forms of one matrix, by type, and of the reference type rounded plainly.
struct MatrixError {
    std::vector<double> fitted;  // per unit of weight, of the inputs that were fitted to
    std::vector<double> held;    // the same, of those held back; 0 where there are none
    std::vector<double> inputs;  // by type: what the kernels' rounding of the inputs adds, per unit of weight
    double reference = 0;
    double held_weight = 0;  // in tokens
    double total_weight = 0;
};

// [experts, kProjectionCount] of one layer.
using LayerErrors = std::vector<std::array<MatrixError, kProjectionCount>>;

// Sum over the sampled rows of w diag(square errors of the inputs) w^T: errors of different columns are independent.
double input_error(const std::vector<float> & sample, const std::vector<double> & square_errors) {
    const size_t columns = square_errors.size();
    double sum = 0;
    for (size_t i = 0; i < sample.size(); i++) {
        sum += static_cast<double>(sample[i]) * static_cast<double>(sample[i]) * square_errors[i % columns];
    }
    return sum;
}

Status matrix_error(const QuadraticFormInputs & work, ExpertId id, Projection projection, const ExpertMoments & moments,
                    FeedbackFactors * factors, MatrixError * error) {
    const ExpertPart & part = work.source.experts().parts(id)[static_cast<size_t>(projection)];
    Result<std::vector<float>> matrix = read_expert_matrix(work.source, id, projection);
    if (!matrix.is_ok()) {
        return matrix.status();
    }
    const std::vector<int64_t> rows = evenly_spaced(part.rows, std::max(kLeastRows, kSampledWeights / part.columns));
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
        return inputs.total_weight() > 0
                   ? scale * quadratic_error(type, sample.data(), blocks.data(), n_rows, inputs, 1) /
                         inputs.total_weight()
                   : 0.0;
    };
    error->fitted.assign(work.types.size(), std::numeric_limits<double>::quiet_NaN());
    error->held = error->fitted;
    error->inputs.assign(work.types.size(), 0.0);
    for (size_t i = 0; i < work.types.size(); i++) {
        const int32_t type = work.types[i];
        if (part.columns % ggml_blck_size(static_cast<ggml_type>(type)) != 0) {
            continue;
        }
        const Result<const FeedbackFactor *> factor =
            work.rounding == Rounding::kFeedback ? factors->for_type(type) : Result<const FeedbackFactor *>(nullptr);
        const Status status = factor.is_ok() ? round(type, factor.value()) : factor.status();
        if (!status.is_ok()) {
            return status;
        }
        error->fitted[i] = judge(type, moments.fitted);
        error->held[i] = judge(type, moments.held);
        const auto rounded_inputs = moments.input_errors.find(input_type_of(type));
        if (rounded_inputs != moments.input_errors.end()) {
            error->inputs[i] = scale * input_error(sample, rounded_inputs->second);
        }
    }
    const int32_t reference = reference_type(part.columns);
    Status status = round(reference, nullptr);
    if (status.is_ok()) {
        error->reference = judge(reference, moments.fitted);
    }
    return status;
}

Status expert_errors(const QuadraticFormInputs & work, const LayerActivations & activations,
                     const LayerProfile & profile, const MomentsPrior & prior, ExpertMomentsReader * reader,
                     int32_t expert, std::array<MatrixError, kProjectionCount> * errors) {
    const ExpertId id{activations.shape.layer, expert};
    const ExpertParts & parts = work.source.experts().parts(id);
    for (const bool down : {false, true}) {
        std::optional<ExpertMoments> moments;
        std::optional<FeedbackFactors> factors;
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

// q of every type, from the fitted and the held-back errors: [experts, kProjectionCount, types].
std::vector<float> expected_forms(const LayerErrors & errors, size_t n_types) {
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
                    forms[(e * kProjectionCount + p) * n_types + t] =
                        static_cast<float>((own + error.inputs[t]) * error.total_weight);
                }
            }
        }
    }
    return forms;
}

}  // namespace

int32_t reference_type(int64_t columns) {
    for (const ggml_type type : {GGML_TYPE_Q3_K, GGML_TYPE_Q4_0}) {
        if (columns % ggml_blck_size(type) == 0) {
            return type;
        }
    }
    return GGML_TYPE_F16;
}

Result<QuadraticForms> quadratic_forms(const QuadraticFormInputs & work, size_t layer,
                                       const std::function<bool(double)> & report) {
    Result<LayerActivations> activations = work.spill.read_layer(layer);
    if (!activations.is_ok()) {
        return activations.status();
    }
    const LayerProfile & profile = work.profile.layers[layer];
    const MomentsPrior prior = MomentsPrior::of(activations.value(), profile, work.split, work.n_threads);
    std::vector<int32_t> input_types;
    for (const int32_t type : work.types) {
        const int32_t input_type = input_type_of(type);
        if (std::find(input_types.begin(), input_types.end(), input_type) == input_types.end()) {
            input_types.push_back(input_type);
        }
    }
    std::vector<std::unique_ptr<ExpertMomentsReader>> readers;
    for (int i = 0; i < work.n_threads; i++) {
        readers.push_back(std::make_unique<ExpertMomentsReader>(work.source, work.split, input_types));
    }
    LayerErrors errors(static_cast<size_t>(activations.value().shape.n_experts));
    Status status = run_in_parallel(
        errors.size(), work.n_threads,
        [&](size_t expert, int thread) {
            return expert_errors(work, activations.value(), profile, prior, readers[static_cast<size_t>(thread)].get(),
                                 static_cast<int32_t>(expert), &errors[expert]);
        },
        [&](size_t n_done) {
            return !report || report(static_cast<double>(n_done) / static_cast<double>(errors.size()));
        });
    if (!status.is_ok()) {
        return status;
    }
    QuadraticForms found;
    found.forms = expected_forms(errors, work.types.size());
    for (const auto & expert : errors) {
        for (const MatrixError & error : expert) {
            found.reference.push_back(error.reference * error.total_weight);
        }
    }
    return found;
}

}  // namespace edgemoe
