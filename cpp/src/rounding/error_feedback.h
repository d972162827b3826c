// Second-order error feedback over a panel of rows: columns are rounded in the factor's order, and each rounding error
// is passed on to the columns still to come (feedback_factor.h has the formula and its source).
#pragma once

#include <cstdint>
#include <vector>

namespace edgemoe {

class BlockChoice;
class FeedbackFactor;

// Buffers for panels of as many columns as the factor and `lanes` rows, used again for each panel. One thread at a
// time.
class ErrorFeedback {
public:
    // `factor` is borrowed.
    ErrorFeedback(const FeedbackFactor & factor, int64_t lanes);

    // Chooses all columns of `n_rows` rows of weights [n_rows, columns]. REQUIRES: n_rows <= lanes, `choice` has as
    // many lanes and was opened for these rows, its group divides the factor's.
    void run(const float * weights, int64_t n_rows, BlockChoice * choice);

private:
    void load_weights(const float * weights, int64_t n_rows);
    void choose_group(int64_t first, int64_t batch, BlockChoice * choice);

    const FeedbackFactor & factor_;
    int64_t lanes_;
    // [columns][lanes], in the factor's order: the weights; then, from the front, w - q; what earlier errors add,
    // times R.
    std::vector<float> weights_;
    std::vector<float> errors_;
    std::vector<float> carried_;
};

}  // namespace edgemoe
