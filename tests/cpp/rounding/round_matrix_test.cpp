#include "rounding/round_matrix.h"

#include <doctest/doctest.h>

#include <limits>
#include <vector>

#include "rounding/feedback_factor.h"
#include "rounding/input_moments.h"
#include "rounding_testing.h"

namespace edgemoe::test {

namespace {

// Two panels, the second not full; two super-blocks.
constexpr int64_t kRows = 260;
constexpr int64_t kColumns = 512;

FeedbackFactor factor_for(int32_t type, const InputMoments & moments) {
    return FeedbackFactor::make(moments, 0.01, feedback_group(type)).value();
}

std::vector<std::byte> rounded(int32_t type, const std::vector<float> & weights, const InputMoments & moments,
                               const FeedbackFactor * factor, int n_threads = 1) {
    std::vector<std::byte> blocks = space_for(type, kRows, kColumns);
    const Status status = round_matrix(type, weights.data(), kRows, kColumns, moments.diagonal().data(), factor,
                                       n_threads, blocks.data());
    CHECK_MESSAGE(status.is_ok(), status.message());
    return blocks;
}

double error_of(int32_t type, const std::vector<float> & weights, const std::vector<std::byte> & blocks,
                const InputMoments & moments) {
    return quadratic_error(type, weights.data(), blocks.data(), kRows, moments, 1);
}

}  // namespace

TEST_CASE("FeedbackBeatsNearestWhereInputsAreCorrelated") {
    const std::vector<float> weights = random_values(kRows * kColumns, 0.05F, 1);
    const InputMoments moments = moments_of(correlated_inputs(2000, kColumns, 2), kColumns);
    for (const int32_t type : all_types()) {
        CAPTURE(name_of(type));
        const FeedbackFactor factor = factor_for(type, moments);
        const std::vector<std::byte> nearest = rounded(type, weights, moments, nullptr);
        std::vector<std::byte> fed_back = space_for(type, kRows, kColumns);
        std::vector<std::byte> also_nearest = fed_back;
        CHECK(round_matrix(type, weights.data(), kRows, kColumns, moments.diagonal().data(), &factor, 1,
                           fed_back.data(), also_nearest.data())
                  .is_ok());
        CHECK(also_nearest == nearest);
        CHECK(ggml_validate_row_data(static_cast<ggml_type>(type), fed_back.data(), fed_back.size()));
        CHECK(error_of(type, weights, fed_back, moments) < 0.5 * error_of(type, weights, nearest, moments));
    }
}

TEST_CASE("FeedbackIsNeverWorseThanGgmlWithoutCorrelation") {
    const std::vector<float> weights = random_values(kRows * kColumns, 0.05F, 3);
    const InputMoments moments = identity_moments(kColumns);
    for (const int32_t type : all_types()) {
        CAPTURE(name_of(type));
        const FeedbackFactor factor = factor_for(type, moments);
        const double nearest = error_of(type, weights, rounded(type, weights, moments, nullptr), moments);
        CHECK(error_of(type, weights, rounded(type, weights, moments, &factor), moments) <= nearest * 1.000001);
    }
}

TEST_CASE("FewTokensAreEnoughToGain") {
    // Fitted on as many tokens as columns, judged on others.
    const std::vector<float> weights = random_values(kRows * kColumns, 0.05F, 4);
    const std::vector<float> inputs = correlated_inputs(3 * kColumns, kColumns, 5);
    const auto middle = inputs.begin() + kColumns * kColumns;
    const InputMoments fitted = moments_of({inputs.begin(), middle}, kColumns);
    const InputMoments judged = moments_of({middle, inputs.end()}, kColumns);
    for (const int32_t type : {GGML_TYPE_Q3_K, GGML_TYPE_IQ2_S}) {
        CAPTURE(name_of(type));
        const FeedbackFactor factor = FeedbackFactor::make(fitted, 0.1, feedback_group(type)).value();
        CHECK(error_of(type, weights, rounded(type, weights, fitted, &factor), judged) <
              0.8 * error_of(type, weights, rounded(type, weights, fitted, nullptr), judged));
    }
}

TEST_CASE("WithoutFactorTheBytesAreGgmls") {
    const std::vector<float> weights = random_values(kRows * kColumns, 0.05F, 6);
    const std::vector<float> importance = moments_of(correlated_inputs(600, kColumns, 7), kColumns).diagonal();
    for (const int32_t type : {GGML_TYPE_Q4_K, GGML_TYPE_IQ2_XS, GGML_TYPE_IQ1_M, GGML_TYPE_Q4_1}) {
        CAPTURE(name_of(type));
        std::vector<std::byte> ours = space_for(type, kRows, kColumns);
        std::vector<std::byte> theirs = ours;
        CHECK(round_matrix(type, weights.data(), kRows, kColumns, importance.data(), nullptr, 2, ours.data()).is_ok());
        ggml_quantize_chunk(static_cast<ggml_type>(type), weights.data(), theirs.data(), 0, kRows, kColumns,
                            importance.data());
        CHECK(ours == theirs);
    }
}

TEST_CASE("BytesDoNotDependOnThreads") {
    const std::vector<float> weights = random_values(kRows * kColumns, 0.05F, 8);
    const InputMoments moments = moments_of(correlated_inputs(600, kColumns, 9), kColumns);
    for (const int32_t type : all_types()) {
        CAPTURE(name_of(type));
        const FeedbackFactor factor = factor_for(type, moments);
        const std::vector<std::byte> one = rounded(type, weights, moments, &factor, 1);
        CHECK(rounded(type, weights, moments, &factor, 3) == one);
        CHECK(quadratic_error(type, weights.data(), one.data(), kRows, moments, 1) ==
              quadratic_error(type, weights.data(), one.data(), kRows, moments, 3));
    }
}

TEST_CASE("RowsOfZerosStayZero") {
    const std::vector<float> weights(kRows * kColumns, 0.0F);
    const InputMoments moments = moments_of(correlated_inputs(600, kColumns, 10), kColumns);
    for (const int32_t type : all_types()) {
        CAPTURE(name_of(type));
        const FeedbackFactor factor = factor_for(type, moments);
        const std::vector<std::byte> blocks = rounded(type, weights, moments, &factor);
        CHECK(dequantized(type, blocks, kRows, kColumns) == weights);
    }
}

TEST_CASE("MomentsOfOneTokenAreRounded") {
    const std::vector<float> weights = random_values(kRows * kColumns, 0.05F, 11);
    const InputMoments moments = moments_of(correlated_inputs(1, kColumns, 12), kColumns);
    for (const int32_t type : all_types()) {
        CAPTURE(name_of(type));
        const auto factor = FeedbackFactor::make(moments, 0.0, feedback_group(type));
        REQUIRE(factor.is_ok());
        const std::vector<std::byte> blocks = rounded(type, weights, moments, &factor.value());
        CHECK(ggml_validate_row_data(static_cast<ggml_type>(type), blocks.data(), blocks.size()));
        CHECK(error_of(type, weights, blocks, moments) <
              error_of(type, weights, rounded(type, weights, moments, nullptr), moments));
    }
}

TEST_CASE("NoImportanceAtAllIsTakenAsEqual") {
    const std::vector<float> weights = random_values(kRows * kColumns, 0.05F, 13);
    const std::vector<float> none(kColumns, 0.0F);
    const std::vector<float> ones(kColumns, 1.0F);
    for (const int32_t type : all_types()) {
        CAPTURE(name_of(type));
        std::vector<std::byte> of_none = space_for(type, kRows, kColumns);
        std::vector<std::byte> of_ones = of_none;
        CHECK(round_matrix(type, weights.data(), kRows, kColumns, none.data(), nullptr, 1, of_none.data()).is_ok());
        CHECK(round_matrix(type, weights.data(), kRows, kColumns, ones.data(), nullptr, 1, of_ones.data()).is_ok());
        CHECK(of_none == of_ones);
    }
}

TEST_CASE("WhatCannotBeRoundedIsRefused") {
    std::vector<float> weights = random_values(kRows * kColumns, 0.05F, 14);
    const InputMoments moments = moments_of(correlated_inputs(600, kColumns, 15), kColumns);
    const FeedbackFactor factor = FeedbackFactor::make(moments, 0.01, 8).value();
    std::vector<float> importance = moments.diagonal();
    std::vector<std::byte> blocks = space_for(GGML_TYPE_F32, kRows, kColumns);
    const auto code = [&](int32_t type, int64_t columns, const FeedbackFactor * with, const float * by) {
        return round_matrix(type, weights.data(), kRows, columns, by, with, 1, blocks.data()).code();
    };
    const float * by = importance.data();
    CHECK(code(GGML_TYPE_Q4_K, kColumns, &factor, by) == StatusCode::kOk);
    CHECK(code(GGML_TYPE_Q4_K, 500, nullptr, by) == StatusCode::kInvalidArgument);
    CHECK(code(GGML_TYPE_Q4_K, 256, &factor, by) == StatusCode::kInvalidArgument);
    CHECK(code(GGML_TYPE_IQ2_XS, kColumns, &factor, nullptr) == StatusCode::kInvalidArgument);
    CHECK(code(GGML_TYPE_IQ1_S, kColumns, &factor, by) == StatusCode::kUnsupported);
    CHECK(code(GGML_TYPE_F16, kColumns, nullptr, by) == StatusCode::kUnsupported);
    CHECK(code(-1, kColumns, nullptr, by) == StatusCode::kUnsupported);
    CHECK(code(GGML_TYPE_COUNT, kColumns, nullptr, by) == StatusCode::kUnsupported);

    const FeedbackFactor single = FeedbackFactor::make(moments, 0.01, 1).value();
    CHECK(code(GGML_TYPE_IQ3_S, kColumns, &single, by) == StatusCode::kInvalidArgument);
    CHECK(code(GGML_TYPE_Q3_K, kColumns, &single, by) == StatusCode::kOk);

    for (const float wrong : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(), 1e6F}) {
        CAPTURE(wrong);
        const float right = weights[777];
        weights[777] = wrong;
        CHECK(code(GGML_TYPE_Q4_K, kColumns, &factor, by) == StatusCode::kInvalidArgument);
        CHECK(code(GGML_TYPE_Q4_K, kColumns, nullptr, by) == StatusCode::kInvalidArgument);
        weights[777] = right;
    }
    for (const float wrong : {std::numeric_limits<float>::quiet_NaN(), -1.0F}) {
        CAPTURE(wrong);
        importance[5] = wrong;
        CHECK(code(GGML_TYPE_Q4_K, kColumns, &factor, by) == StatusCode::kInvalidArgument);
    }
}

TEST_CASE("GroupsAreThoseOfTheTypes") {
    for (const int32_t type : scalar_types()) {
        CHECK(can_round(type));
        CHECK(feedback_group(type) == 1);
    }
    for (const int32_t type : grid_types()) {
        CHECK(can_round(type));
        CHECK(feedback_group(type) == 8);
    }
    CHECK_FALSE(can_round(GGML_TYPE_IQ1_S));
    CHECK(feedback_group(GGML_TYPE_F16) == 0);
}

}  // namespace edgemoe::test
