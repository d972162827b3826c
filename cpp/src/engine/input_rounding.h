// What ggml's kernels do to the inputs of a product: before they multiply with quantized weights, they round them to 8
// bits, to blocks of 256 or 32 with a scale each, as the weights' type wants it. No choice of weights undoes that
// error, but the choice of the type decides how large it is. Pure functions.
#pragma once

#include <cstdint>
#include <vector>

namespace edgemoe {

// The ggml_type to which inputs are rounded for weights of `type`.
int32_t input_type_of(int32_t type);

// sums[c] += weight * (x[c] - rounded x[c])^2, over n tokens: `inputs` [n, columns], `weights` [n], `sums` [columns].
// Nothing is added for types that are not understood. REQUIRES: whole blocks of `input_type` in a row.
void add_input_rounding(int32_t input_type, const float * inputs, const float * weights, int64_t n, int64_t columns,
                        std::vector<double> * sums);

}  // namespace edgemoe
