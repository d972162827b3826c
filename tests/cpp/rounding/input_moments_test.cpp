#include "rounding/input_moments.h"

#include <doctest/doctest.h>

#include <vector>

#include "rounding_testing.h"

namespace edgemoe::test {
TEST_CASE("MomentsAreTheWeightedSumOfProducts") {
    // More columns than a tile, more tokens than a chunk, neither a multiple.
    constexpr int64_t kColumns = 300;
    constexpr int64_t kTokens = 700;
    const std::vector<float> inputs = random_values(kTokens * kColumns, 1.0F, 1);
    std::vector<float> weights = random_values(kTokens, 1.0F, 2);
    double total = 0.0;
    for (float & weight : weights) {
        weight *= weight;
        total += static_cast<double>(weight);
    }
    InputMoments moments(kColumns);
    moments.add(inputs.data(), weights.data(), 100, 1);
    moments.add(inputs.data() + 100 * kColumns, weights.data() + 100, kTokens - 100, 1);
    CHECK(moments.n_tokens() == kTokens);
    CHECK(moments.total_weight() == doctest::Approx(total));
    for (const auto & [i, j] :
         std::vector<std::pair<int64_t, int64_t>>{{0, 0}, {299, 299}, {299, 0}, {0, 299}, {255, 256}, {100, 7}}) {
        double sum = 0.0;
        for (int64_t t = 0; t < kTokens; ++t) {
            const float * input = inputs.data() + t * kColumns;
            sum += static_cast<double>(weights[static_cast<size_t>(t)]) * static_cast<double>(input[i]) *
                   static_cast<double>(input[j]);
        }
        CHECK(static_cast<double>(moments.data()[i * kColumns + j]) == doctest::Approx(sum).epsilon(1e-3));
    }
    CHECK(moments.diagonal()[299] == moments.data()[299 * kColumns + 299]);
    CHECK(moments.data()[299] == moments.data()[299 * kColumns]);
}

TEST_CASE("MomentsDoNotDependOnTheNumberOfThreads") {
    constexpr int64_t kColumns = 600;
    const std::vector<float> inputs = correlated_inputs(90, kColumns, 3);
    const std::vector<float> weights(90, 0.3F);
    InputMoments one(kColumns);
    InputMoments four(kColumns);
    one.add(inputs.data(), weights.data(), 90, 1);
    four.add(inputs.data(), weights.data(), 90, 4);
    CHECK(std::equal(one.data(), one.data() + kColumns * kColumns, four.data()));
}

TEST_CASE("BlendingAddsAShareAndCountsNoTokens") {
    InputMoments moments = moments_of({1.0F, 2.0F}, 2);
    moments.blend(moments_of({4.0F, 0.0F, 0.0F, 2.0F}, 2), 0.5);
    CHECK(std::vector<float>(moments.data(), moments.data() + 4) == std::vector<float>{9.0F, 2.0F, 2.0F, 6.0F});
    CHECK(moments.total_weight() == doctest::Approx(2.0));
    CHECK(moments.n_tokens() == 1);
}

TEST_CASE("NoTokensLeaveNoMoments") {
    InputMoments moments(3);
    moments.add(nullptr, nullptr, 0, 2);
    CHECK(moments.diagonal() == std::vector<float>(3, 0.0F));
    CHECK(moments.n_tokens() == 0);
}

}  // namespace edgemoe::test
