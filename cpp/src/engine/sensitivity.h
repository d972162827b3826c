// What quantizing each expert's matrix to each type is expected to cost in quality.
//
// The damage of type t to projection p of expert e in layer l is
//     damage(l, e, p, t) = scale(l, p) * q(l, e, p, t)
// q is the quadratic form of the rounding error on the inputs that the matrix really sees, sum over rows of
// (w - w_t) M (w - w_t)^T, with M the sum over tokens of the router's weight squared times x x^T: the squared error of
// the layer's output that this matrix causes (the objective of GPTQ, arXiv 2210.17323, taken expert by expert).
// To q is added what the kernels' rounding of the inputs to 8 bits does to the same output: sum over rows of w D w^T,
// with D the diagonal of the inputs' squared rounding errors; it depends on the type too (engine/input_rounding.h).
// scale(l, p) is what such an error does to the model's output: the KL divergence measured with this projection of all
// experts of the layer in one reference type, divided by the sum of their q in that type. To second order KL is a
// quadratic form of the error, so the scale holds for other types, and damages add up as long as errors are independent
// (the linearity theorem of arXiv 2411.17525): the sum over a whole allocation is an estimate of the model's KL
// divergence.
#pragma once

#include "base/status.h"
#include "engine/activation_spill.h"
#include "engine/calibration_split.h"
#include "engine/gguf_source.h"
#include "engine/job_progress.h"
#include "engine/load_options.h"
#include "engine/profile.h"
#include "engine/quadratic_forms.h"
#include "engine/type_ladder.h"

#include <cstdint>
#include <vector>

namespace edgemoe {

struct SensitivityOptions {
    std::vector<int32_t> types;  // ggml_type; default_ladder()
    Rounding rounding = Rounding::kFeedback;
    // The paper's way on top: experts are lowered one at a time, and each expert's damage is scaled to the KL
    // divergence that this has. A measurement an expert: for small models.
    bool measured = false;
    LoadOptions load;
};

// Whether `table` is what estimate_sensitivity() would give for these options, for at least these types.
bool covers(const SensitivityTable & table, const SensitivityOptions & options);

// Memory: for each thread one expert's inputs, moments and matrices; and a model, for the measurement.
Result<SensitivityTable> estimate_sensitivity(const GgufSource & source, const Profile & profile,
                                              const CalibrationSplit & split, const ActivationSpill & spill,
                                              const SensitivityOptions & options, const JobProgress & progress);

}  // namespace edgemoe
