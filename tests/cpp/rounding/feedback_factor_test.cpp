#include "rounding/feedback_factor.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <limits>
#include <numeric>
#include <vector>

#include "rounding_testing.h"

namespace edgemoe::test {
namespace {

// (R R^T)_ij by definition.
double product(const FeedbackFactor & factor, int64_t i, int64_t j) {
    const int64_t n = factor.columns();
    double sum = 0.0;
    for (int64_t k = 0; k < n; ++k) {
        sum += static_cast<double>(factor.data()[i * n + k]) * static_cast<double>(factor.data()[j * n + k]);
    }
    return sum;
}

}  // namespace

TEST_CASE("TheFactorIsThatOfTheDampedMomentsInFallingOrder") {
    constexpr int64_t kColumns = 64;
    const InputMoments moments = moments_of(correlated_inputs(200, kColumns, 1), kColumns);
    const std::vector<float> diagonal = moments.diagonal();
    const float mean = std::accumulate(diagonal.begin(), diagonal.end(), 0.0F) / kColumns;
    for (const int64_t group : {1, 4, 8}) {
        CAPTURE(group);
        const auto made = FeedbackFactor::make(moments, 0.01, group);
        REQUIRE(made.is_ok());
        const FeedbackFactor & factor = made.value();
        CHECK(factor.damping() == 0.01);
        CHECK(factor.group() == group);
        std::vector<int32_t> sorted = factor.order();
        std::sort(sorted.begin(), sorted.end());
        std::vector<int32_t> all(kColumns);
        std::iota(all.begin(), all.end(), 0);
        CHECK(sorted == all);
        float before = std::numeric_limits<float>::max();
        for (int64_t g = 0; g < kColumns; g += group) {
            const int32_t first = factor.order()[static_cast<size_t>(g)];
            CHECK(first % group == 0);
            const float sum = std::accumulate(diagonal.begin() + first, diagonal.begin() + first + group, 0.0F);
            CHECK(sum <= before * 1.0001F);
            before = sum;
        }
        for (int64_t i = 0; i < kColumns; ++i) {
            for (int64_t j = 0; j < kColumns; ++j) {
                const int64_t at =
                    factor.order()[static_cast<size_t>(i)] * kColumns + factor.order()[static_cast<size_t>(j)];
                const float wanted = moments.data()[at] + (i == j ? 0.01F * mean : 0.0F);
                CHECK(product(factor, i, j) == doctest::Approx(static_cast<double>(wanted)).epsilon(1e-3).scale(mean));
                CHECK(factor.metric()[at] == doctest::Approx(wanted));
                if (j < i) {
                    CHECK(factor.data()[i * kColumns + j] == 0.0F);
                }
            }
        }
    }
}

TEST_CASE("DampingGrowsUntilSingularMomentsHaveAFactor") {
    // Two tokens for 64 columns.
    const auto made = FeedbackFactor::make(moments_of(correlated_inputs(2, 64, 2), 64), 0.0, 8);
    REQUIRE(made.is_ok());
    CHECK(made.value().damping() > 0.0);
    CHECK(made.value().damping() < 0.01);
}

TEST_CASE("MomentsOfNoInputGiveTheIdentity") {
    const auto made = FeedbackFactor::make(InputMoments(16), 0.01, 8);
    REQUIRE(made.is_ok());
    for (int64_t i = 0; i < 16; ++i) {
        CHECK(made.value().data()[i * 16 + i] == 1.0F);
    }
}

TEST_CASE("AColumnWithoutInputIsDampedLikeTheOthers") {
    std::vector<float> inputs = correlated_inputs(100, 16, 3);
    for (size_t t = 0; t < 100; ++t) {
        inputs[t * 16 + 5] = 0.0F;
    }
    const auto made = FeedbackFactor::make(moments_of(inputs, 16), 0.01, 1);
    REQUIRE(made.is_ok());
    CHECK(made.value().order().back() == 5);
    CHECK(made.value().damping() == 0.01);
}

TEST_CASE("WhatCannotBeFactoredIsRefused") {
    std::vector<float> inputs = correlated_inputs(100, 16, 4);
    CHECK(FeedbackFactor::make(moments_of(inputs, 16), 0.01, 3).status().code() == StatusCode::kInvalidArgument);
    CHECK(FeedbackFactor::make(InputMoments(12), 0.01, 8).status().code() == StatusCode::kInvalidArgument);
    CHECK(FeedbackFactor::make(moments_of(inputs, 16), -0.01, 8).status().code() == StatusCode::kInvalidArgument);
    CHECK(FeedbackFactor::make(moments_of(inputs, 16), std::numeric_limits<double>::quiet_NaN(), 8).status().code() ==
          StatusCode::kInvalidArgument);
    inputs[7] = std::numeric_limits<float>::quiet_NaN();
    CHECK(FeedbackFactor::make(moments_of(inputs, 16), 0.01, 8).status().code() == StatusCode::kInvalidArgument);
    inputs[7] = std::numeric_limits<float>::infinity();
    CHECK(FeedbackFactor::make(moments_of(inputs, 16), 0.01, 8).status().code() == StatusCode::kInvalidArgument);
}

}  // namespace edgemoe::test
