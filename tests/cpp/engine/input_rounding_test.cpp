#include "engine/input_rounding.h"

#include "ggml.h"

#include <doctest/doctest.h>

#include <cmath>
#include <numeric>
#include <random>

namespace edgemoe {
namespace {

constexpr int64_t kColumns = 512;
constexpr int64_t kTokens = 64;

// Inputs of which every 256th is `outlier` times as large as the others.
std::vector<double> squares(int32_t input_type, float outlier, float weight) {
    std::mt19937 random(7);
    std::normal_distribution<float> normal;
    std::vector<float> inputs(kTokens * kColumns);
    for (size_t i = 0; i < inputs.size(); i++) {
        inputs[i] = normal(random) * (i % 256 == 0 ? outlier : 1.0F);
    }
    const std::vector<float> weights(kTokens, weight);
    std::vector<double> sums(kColumns, 0.0);
    add_input_rounding(input_type, inputs.data(), weights.data(), kTokens, kColumns, &sums);
    return sums;
}

double total(const std::vector<double> & sums) {
    return std::accumulate(sums.begin(), sums.end(), 0.0);
}

TEST_CASE("KQuantsRoundInputsInBlocksOf256AndOthersInBlocksOf32") {
    CHECK(input_type_of(GGML_TYPE_Q4_K) == GGML_TYPE_Q8_K);
    CHECK(input_type_of(GGML_TYPE_IQ4_XS) == GGML_TYPE_Q8_K);
    CHECK(input_type_of(GGML_TYPE_IQ4_NL) == GGML_TYPE_Q8_0);
    CHECK(input_type_of(GGML_TYPE_F32) == GGML_TYPE_F32);
}

TEST_CASE("TheErrorIsThatOfRoundingToOf127StepsOfTheLargestValue") {
    // A largest value of about 2.8 in 256 normal ones: steps of 2.8 / 127, and a twelfth of their square.
    const double mean = total(squares(GGML_TYPE_Q8_K, 1, 1)) / (kTokens * kColumns);
    const double step = 2.8 / 127;
    CHECK(mean > 0.7 * step * step / 12);
    CHECK(mean < 1.4 * step * step / 12);
}

TEST_CASE("AnOutlierSpoilsItsBlockAlone") {
    const std::vector<double> wide = squares(GGML_TYPE_Q8_K, 100, 1);
    const std::vector<double> narrow = squares(GGML_TYPE_Q8_0, 100, 1);
    CHECK(total(wide) > 5 * total(narrow));
    // Columns 32 to 255 do not lie in the outlier's block of 32.
    CHECK(std::accumulate(narrow.begin() + 32, narrow.begin() + 256, 0.0) <
          0.01 * std::accumulate(wide.begin() + 32, wide.begin() + 256, 0.0));
}

TEST_CASE("WeightsMultiplyAndUnroundedInputsHaveNoError") {
    CHECK(total(squares(GGML_TYPE_Q8_K, 1, 0.25F)) == doctest::Approx(total(squares(GGML_TYPE_Q8_K, 1, 1)) / 4));
    CHECK(total(squares(GGML_TYPE_F32, 1, 1)) == 0.0);
}

}  // namespace
}  // namespace edgemoe
