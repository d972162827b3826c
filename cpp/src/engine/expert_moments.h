// Second moments of what an expert's matrices are multiplied with, from the spilled activations of a calibration text.
#pragma once

#include "base/expert_id.h"
#include "base/status.h"
#include "engine/activation_spill.h"
#include "engine/calibration_split.h"
#include "engine/expert_inputs.h"
#include "engine/gguf_source.h"
#include "engine/profile.h"
#include "rounding/input_moments.h"

#include <cstdint>
#include <map>
#include <optional>
#include <utility>
#include <vector>

namespace edgemoe {

// Of one expert and one kind of input (gate, up and gate_up share theirs).
struct ExpertMoments {
    InputMoments fitted;  // what is rounded to: with the prior, never all zero
    InputMoments held;  // what is judged by: of the text's held-back part; all zero where it does not reach the expert
    int64_t n_fitted = 0;  // tokens
    int64_t n_held = 0;
    double damping = 0;  // for FeedbackFactor: more for fewer tokens
    // By input type (input_rounding.h): the mean square of the error that rounding the inputs makes, by column, per
    // unit of weight.
    std::map<int32_t, std::vector<double>> input_errors = {};

    // For ggml's quantizers: the diagonal of `fitted`.
    std::vector<float> importance() const { return fitted.diagonal(); }
};

// What is assumed of an expert's inputs before any token: of one layer. Immutable, thread-safe.
class MomentsPrior {
public:
    // `n_threads` at once.
    static MomentsPrior of(const LayerActivations & activations, const LayerProfile & profile,
                           const CalibrationSplit & split, int n_threads);

    // Adds kTokens tokens' worth of what is typical of the layer, more where fewer tokens than columns were seen: for
    // gate and up the layer's moments, for down, whose columns mean something else in each expert, the layer's mean
    // square in every column.
    void blend(bool down, ExpertMoments * moments) const;
    static constexpr double kTokens = 16;

    // Mean over the layer's experts of the sum of weights, on the fitted part.
    double mean_weight() const { return mean_weight_; }

private:
    MomentsPrior() = default;

    std::optional<InputMoments> input_;  // of one token routed to one expert
    double down_square_ = 0;             // of one element, per unit of weight
    double token_weight_ = 0;            // of one token routed to one expert
    double mean_weight_ = 0;
};

// One thread at a time. Memory: one expert's moments and matrices, and some of its inputs.
class ExpertMomentsReader {
public:
    // `input_types`: those of which the moments have input_errors. All but these outlive it.
    ExpertMomentsReader(const GgufSource & source, const CalibrationSplit & split,
                        std::vector<int32_t> input_types = {})
        : split_(split), inputs_(source, 1), input_types_(std::move(input_types)) {}

    // Moments of the inputs of `down`, or of the other matrices. The same whether the text reaches the expert or not,
    // or whether what its graph does with down's inputs is understood or not: the prior stands in.
    Result<ExpertMoments> read(const LayerActivations & activations, const MomentsPrior & prior, int32_t expert,
                               Projection projection, int64_t columns);

private:
    const CalibrationSplit & split_;
    ExpertInputReader inputs_;
    std::vector<int32_t> input_types_;
};

}  // namespace edgemoe
