// The quadratic forms of rounding errors: how large an error in a layer's output each type of each matrix makes.
#pragma once

#include "base/expert_id.h"
#include "base/status.h"
#include "engine/activation_spill.h"
#include "engine/calibration_split.h"
#include "engine/gguf_source.h"
#include "engine/profile.h"

#include <cstdint>
#include <functional>
#include <vector>

namespace edgemoe {

enum class Rounding : uint8_t { kNearest, kFeedback };

// Of one layer. For an expert's matrix in a type: sum over rows of (w - w_t) M (w - w_t)^T, with M the sum over the
// text's tokens of weight * x x^T (ExpertInputs); and what the kernels' rounding of the inputs adds for that type
// (engine/input_rounding.h).
struct QuadraticForms {
    std::vector<float> forms;  // [n_experts, kProjectionCount, types]; NaN: no such matrix, or it cannot have the type
    std::vector<double> reference;  // [n_experts, kProjectionCount]: in reference_type(), by ggml's own
                                    // rounding of the weights, the inputs as they are
};

// The type in which groups of matrices with rows of `columns` are lowered to measure what an error does: low enough to
// be seen above the noise of few tokens, high enough for the quadratic form to hold.
int32_t reference_type(int64_t columns);

// What quadratic forms are found from; all outlive the call.
struct QuadraticFormInputs {
    const GgufSource & source;
    const Profile & profile;
    const CalibrationSplit & split;
    const ActivationSpill & spill;
    const std::vector<int32_t> & types;
    Rounding rounding;
    int n_threads;
};

// Of the layer at position `layer` of the profile. A sample of each matrix's rows is rounded as they will be, and
// judged on text held back from what they were fitted to as well: error feedback looks better than it is on the inputs
// that it was fitted to. An expert that the text hardly reaches is counted as if it had a quarter of its layer's mean
// traffic. `report` (may be empty): the fraction done; false stops (kCancelled).
Result<QuadraticForms> quadratic_forms(const QuadraticFormInputs & inputs, size_t layer,
                                       const std::function<bool(double)> & report);

}  // namespace edgemoe
