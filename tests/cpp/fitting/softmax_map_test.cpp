#include "fitting/softmax_map.h"

#include <doctest/doctest.h>

#include <cmath>
#include <random>

namespace edgemoe {
namespace {

constexpr int64_t kTokens = 4000, kColumns = 6, kRows = 4;

// Tokens whose targets are the softmax of a known map of their inputs. Columns differ in scale by a factor of 1000.
struct KnownMap {
    std::vector<float> inputs = std::vector<float>(kTokens * kColumns);
    std::vector<float> targets = std::vector<float>(kTokens * kRows);
    SoftmaxMapData data;

    KnownMap() {
        std::mt19937 random(7);
        std::normal_distribution<float> normal;
        std::vector<float> map(kRows * kColumns);
        for (float & weight : map) {
            weight = normal(random);
        }
        for (int64_t t = 0; t < kTokens; t++) {
            std::vector<float> logits(kRows);
            for (int64_t c = 0; c < kColumns; c++) {
                const float value = normal(random);
                inputs[static_cast<size_t>(t * kColumns + c)] = value * (c == 0 ? 1000.0F : 1.0F);
                for (int64_t r = 0; r < kRows; r++) {
                    logits[static_cast<size_t>(r)] += value * map[static_cast<size_t>(r * kColumns + c)];
                }
            }
            float sum = 0;
            for (float & logit : logits) {
                logit = std::exp(logit);
                sum += logit;
            }
            for (int64_t r = 0; r < kRows; r++) {
                targets[static_cast<size_t>(t * kRows + r)] = logits[static_cast<size_t>(r)] / sum;
            }
        }
        data.n_tokens = kTokens;
        data.n_columns = kColumns;
        data.n_rows = kRows;
        data.fill = [this](const int32_t * tokens, int64_t n, float * x, float * y) {
            for (int64_t i = 0; i < n; i++) {
                std::copy_n(inputs.data() + tokens[i] * kColumns, kColumns, x + i * kColumns);
                std::copy_n(targets.data() + tokens[i] * kRows, kRows, y + i * kRows);
            }
        };
    }

    // Largest difference between a probability of the fitted map and the known one.
    float largest_error(const std::vector<float> & weights) const {
        std::vector<float> outputs(kTokens * kRows);
        apply_map(inputs.data(), weights.data(), kTokens, kColumns, kRows, outputs.data());
        float largest = 0;
        for (int64_t t = 0; t < kTokens; t++) {
            float sum = 0;
            for (int64_t r = 0; r < kRows; r++) {
                sum += std::exp(outputs[static_cast<size_t>(t * kRows + r)]);
            }
            for (int64_t r = 0; r < kRows; r++) {
                const auto i = static_cast<size_t>(t * kRows + r);
                largest = std::max(largest, std::fabs(std::exp(outputs[i]) / sum - targets[i]));
            }
        }
        return largest;
    }
};

}  // namespace

TEST_CASE("AKnownMapIsFound") {
    const KnownMap known;
    SoftmaxMapOptions options;
    options.n_passes = 60;
    options.learning_rate = 0.05F;
    std::vector<float> weights(kRows * kColumns, 0.0F);
    CHECK(known.largest_error(weights) > 0.5F);
    REQUIRE(fit_softmax_map(known.data, options, &weights, {}).is_ok());
    CHECK(known.largest_error(weights) < 0.03F);
}

TEST_CASE("TheSameDataGiveTheSameBits") {
    const KnownMap known;
    std::vector<float> first(kRows * kColumns, 0.0F), second = first;
    REQUIRE(fit_softmax_map(known.data, {}, &first, {}).is_ok());
    REQUIRE(fit_softmax_map(known.data, {}, &second, {}).is_ok());
    CHECK(first == second);
}

TEST_CASE("TokensWithoutATargetAreNotFittedTo") {
    KnownMap known;
    std::vector<float> start(kRows * kColumns, 0.25F), weights = start;
    std::fill(known.targets.begin(), known.targets.end(), 0.0F);
    REQUIRE(fit_softmax_map(known.data, {}, &weights, {}).is_ok());
    for (size_t i = 0; i < weights.size(); i++) {
        CHECK(weights[i] == doctest::Approx(start[i]).epsilon(1e-5));
    }
}

TEST_CASE("AColumnThatIsAlwaysZeroKeepsItsWeights") {
    KnownMap known;
    for (int64_t t = 0; t < kTokens; t++) {
        known.inputs[static_cast<size_t>(t * kColumns + 2)] = 0;
    }
    std::vector<float> weights(kRows * kColumns, 0.5F);
    REQUIRE(fit_softmax_map(known.data, {}, &weights, {}).is_ok());
    for (int64_t r = 0; r < kRows; r++) {
        CHECK(weights[static_cast<size_t>(r * kColumns + 2)] == 0.5F);
        CHECK(weights[static_cast<size_t>(r * kColumns + 1)] != 0.5F);
    }
}

TEST_CASE("FittingCanBeStopped") {
    const KnownMap known;
    std::vector<float> weights(kRows * kColumns, 0.0F);
    int n_steps = 0;
    const Status status =
        fit_softmax_map(known.data, {}, &weights, [&](double fraction) { return fraction > 0 && ++n_steps < 3; });
    CHECK(status.code() == StatusCode::kCancelled);
    CHECK(n_steps == 3);
}

}  // namespace edgemoe
