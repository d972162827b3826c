// A linear map fitted so that the softmax of its outputs is a given distribution: what predicts experts.
#pragma once

#include "base/status.h"

#include <cstdint>
#include <functional>
#include <vector>

namespace edgemoe {

struct SoftmaxMapOptions {
    int32_t n_passes = 6;          // over all tokens
    int32_t batch_tokens = 256;    // a step's
    float learning_rate = 0.002F;  // the first; falls to 0 along a half cosine
    uint32_t seed = 1;             // of the order of tokens
};

// The tokens that a map is fitted to, in any order. Called from the fitting thread.
struct SoftmaxMapData {
    int64_t n_tokens = 0;
    int64_t n_columns = 0;
    int64_t n_rows = 0;
    // Fills inputs [n, n_columns] and targets [n, n_rows] of `n` tokens. A target is at least 0 and sums to 1 over the
    // rows; one that is all 0 says nothing, and its token is passed over.
    std::function<void(const int32_t * tokens, int64_t n, float * inputs, float * targets)> fill;
};

// Minimizes the mean cross-entropy of softmax(weights * input) to the targets by Adam (arXiv 1412.6980), each column
// scaled to a mean square of 1 meanwhile. weights: [n_rows, n_columns], the start values and the result. The same
// options and data give the same bits. `goes_on` (may be empty) is asked after each step with the share that is done;
// false: kCancelled. Memory: the weights four times, and a batch.
Status fit_softmax_map(const SoftmaxMapData & data, const SoftmaxMapOptions & options, std::vector<float> * weights,
                       const std::function<bool(double fraction)> & goes_on);

// outputs [n, n_rows] = inputs [n, n_columns] x weights [n_rows, n_columns], transposed.
void apply_map(const float * inputs, const float * weights, int64_t n, int64_t n_columns, int64_t n_rows,
               float * outputs);

}  // namespace edgemoe
