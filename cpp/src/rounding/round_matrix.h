// Rounding a matrix to a ggml type: scales and minima of each block as ggml's own quantizers leave them, then the
// integers (or grid vectors and signs) chosen again by second-order error feedback. The result is ordinary blocks of
// the type.
//
// Functions of this header keep no state and may be called by any number of threads.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/status.h"

namespace edgemoe {

class FeedbackFactor;
class InputMoments;

// Whether integers of this ggml type can be chosen by error feedback.
bool can_round(int32_t ggml_type);

// How many neighbouring columns the type chooses together: 1 for scalar types, 4 or 8 for grid types, 0 if !can_round.
int64_t feedback_group(int32_t ggml_type);

// Rounds `weights` [n_rows, columns], rows contiguous, into n_rows * ggml_row_size(ggml_type, columns) bytes at
// `blocks`. `importance` [columns], >= 0: what ggml's quantizer weighs errors by, or nullptr. `factor`: the inputs'
// factor, or nullptr for ggml's own integers (any type that ggml can quantize). Rows are shared out over `n_threads`
// threads; the bytes do not depend on n_threads. `nearest`, if not nullptr: gets ggml's own integers, as many bytes as
// `blocks`. kInvalidArgument: columns no multiple of the block size, weights or importance not finite, a factor of
// other columns or too small a group, no importance for a type that needs it. kUnsupported: a type that ggml cannot
// quantize, or a factor and !can_round. On failure the content of `blocks` and `nearest` is unspecified.
Status round_matrix(int32_t ggml_type, const float * weights, int64_t n_rows, int64_t columns, const float * importance,
                    const FeedbackFactor * factor, int n_threads, std::byte * blocks, std::byte * nearest = nullptr);

// Sum over rows of (w - q) M (w - q)^T, where q is `blocks` as ggml dequantizes them. The same for any n_threads.
// REQUIRES: a type that ggml can dequantize, blocks of n_rows rows with as many columns as the moments.
double quadratic_error(int32_t ggml_type, const float * weights, const std::byte * blocks, int64_t n_rows,
                       const InputMoments & moments, int n_threads);

}  // namespace edgemoe
