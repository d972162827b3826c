// What error feedback needs of the input moments, computed once for all matrices and types that share the inputs.
//
// H = M + damping * mean(diagonal of M) * identity, its columns put in the order in which they are rounded, is factored
// as H = R R^T with R upper triangular. Then e H e^T = sum over columns j of R_jj^2 (e_j + sum over k < j of e_k R_kj /
// R_jj)^2, so rounding column j to the value nearest to w_j + sum of e_k R_kj / R_jj is the best choice if later
// columns make up for it (LDLQ of QuIP, arXiv 2307.13304, section 3; equal to GPTQ, arXiv 2210.17323, without the
// inverse).
//
// Immutable, any number of threads. Takes 8 * columns^2 bytes.
#pragma once

#include <cstdint>
#include <vector>

#include "base/status.h"

namespace edgemoe {

class InputMoments;

class FeedbackFactor {
public:
    // The most columns that a type chooses together.
    static constexpr int64_t kLargestGroup = 8;

    // `damping` >= 0 as a share of the mean diagonal; 0.01 is usual, 0.1 for few tokens. `group` is how many
    // neighbouring columns stay together in the order (falling sum of their diagonal): 1, 4 or 8; a factor serves the
    // types whose own group (feedback_group of round_matrix.h) divides it. Moments that are zero or singular are fine:
    // the damping grows tenfold until the factor exists, and columns without any input are rounded to nearest.
    // kInvalidArgument: moments that are not finite or not those of any inputs, columns no multiple of the group.
    static Result<FeedbackFactor> make(const InputMoments & moments, double damping, int64_t group = kLargestGroup);

    int64_t columns() const { return static_cast<int64_t>(order_.size()); }
    int64_t group() const { return group_; }
    // The share of the mean diagonal that was added in the end.
    double damping() const { return damping_; }
    // order()[i]: the column of the matrix that is rounded as the i-th.
    const std::vector<int32_t> & order() const { return order_; }
    // R, [columns, columns] in that order, rows contiguous, zero below the diagonal; borrowed.
    const float * data() const { return factor_.data(); }
    // H, [columns, columns] in the matrix's own order; borrowed.
    const float * metric() const { return metric_.data(); }

private:
    FeedbackFactor() = default;

    int64_t group_ = 1;
    double damping_ = 0.0;
    std::vector<int32_t> order_;
    std::vector<float> factor_;
    std::vector<float> metric_;
};

}  // namespace edgemoe
