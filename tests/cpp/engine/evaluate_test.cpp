#include "engine/evaluate.h"

#include <doctest/doctest.h>

#include <cmath>

namespace edgemoe {

TEST_CASE("UniformLogitsHaveThePerplexityOfTheVocabulary") {
    const std::vector<float> logits(10, 3.0F);
    EvaluationSum sum;
    sum.add({logits.data(), logits.data()}, {}, {0, 9}, 10, 2);
    CHECK(sum.result().tokens == 2);
    CHECK(sum.result().perplexity == doctest::Approx(10));
    CHECK(sum.result().perplexity_error == doctest::Approx(0).epsilon(1e-6));
    CHECK(sum.result().kl_divergence == 0);
}

TEST_CASE("DivergenceIsFromTheBaseToTheModel") {
    const std::vector<float> base = {0, std::log(3.0F)};  // 1/4, 3/4
    const std::vector<float> model = {0, 0};
    EvaluationSum sum;
    sum.add({model.data()}, {base.data()}, {1}, 2, 1);
    CHECK(sum.result().kl_divergence == doctest::Approx(0.25 * std::log(0.5) + 0.75 * std::log(1.5)));
    CHECK(sum.result().base_perplexity == doctest::Approx(4.0 / 3));
    CHECK(sum.result().argmax_agreement == 0);
}

TEST_CASE("AShiftOfAllLogitsIsNoDifference") {
    const std::vector<float> base = {1, 2, 4}, model = {101, 102, 104};
    EvaluationSum sum;
    sum.add({model.data()}, {base.data()}, {1}, 3, 1);
    CHECK(sum.result().kl_divergence == doctest::Approx(0).epsilon(1e-6));
    CHECK(sum.result().argmax_agreement == 1);
}

TEST_CASE("LargeLogitsDoNotOverflow") {
    const std::vector<float> logits = {1e4F, -1e4F};
    EvaluationSum sum;
    sum.add({logits.data()}, {logits.data()}, {0}, 2, 1);
    CHECK(sum.result().perplexity == doctest::Approx(1));
    CHECK(sum.result().kl_divergence == 0);
}

TEST_CASE("ErrorsAreThoseOfAMean") {
    const std::vector<float> base = {0, 0}, near = {0, 0.1F}, far = {0, 2};
    EvaluationSum sum;
    sum.add({near.data(), far.data()}, {base.data(), base.data()}, {0, 1}, 2, 1);
    const auto divergence = [](double logit) { return -std::log(2.0) + std::log(1 + std::exp(logit)) - logit / 2; };
    const double a = divergence(0.1), b = divergence(2);
    CHECK(sum.result().kl_divergence == doctest::Approx((a + b) / 2));
    CHECK(sum.result().kl_divergence_error == doctest::Approx(std::abs(a - b) / 2));
}

TEST_CASE("NoTokensAreNoFigures") {
    CHECK(EvaluationSum().result().tokens == 0);
    CHECK(EvaluationSum().result().perplexity == 0);
}

}  // namespace edgemoe
