// Second moments of what a matrix is multiplied with: M = sum over tokens of weight * x x^T. With the router weight
// squared as weight, (w - q) M (w - q)^T is the squared error of an output row on those tokens.
//
// One thread at a time. Takes 4 * columns^2 bytes: 16 MiB at 2048 columns.
#pragma once

#include <cstdint>
#include <vector>

namespace edgemoe {

class InputMoments {
public:
    // All zero. REQUIRES: columns >= 1.
    explicit InputMoments(int64_t columns);

    // Adds n tokens: `inputs` [n, columns], rows contiguous; `weights` [n], each >= 0. The result does not depend on
    // n_threads, in the last bits it depends on how the tokens are cut into calls. Values that are not finite are found
    // by FeedbackFactor.
    void add(const float * inputs, const float * weights, int64_t n, int n_threads);

    // this += share * other, also for weight and token count: for experts that the text hardly reaches, from the
    // layer's moments. REQUIRES: equal columns, share >= 0.
    void blend(const InputMoments & other, double share);

    int64_t columns() const { return columns_; }
    double total_weight() const { return total_weight_; }
    // Tokens added, those of weight 0 included; those blended in are not counted.
    int64_t n_tokens() const { return n_tokens_; }
    // [columns, columns], symmetric; borrowed.
    const float * data() const { return moments_.data(); }
    // The diagonal: [columns], what ggml's quantizers take as importance.
    std::vector<float> diagonal() const;

private:
    int64_t columns_;
    int64_t n_tokens_ = 0;
    double total_weight_ = 0.0;
    std::vector<float> moments_;
};

}  // namespace edgemoe
