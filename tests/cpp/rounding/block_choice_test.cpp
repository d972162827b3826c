// What a choice believes of its blocks is what ggml makes of them.
#include "rounding/block_choice.h"

#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <limits>
#include <memory>
#include <utility>
#include <vector>

#include "rounding/block_scales.h"
#include "rounding/panel.h"
#include "rounding_testing.h"

namespace edgemoe::test {
namespace {

constexpr int64_t kRows = 37;
constexpr int64_t kColumns = 512;
constexpr int64_t kLanes = 48;

std::unique_ptr<BlockChoice> make_choice(int32_t type) {
    std::unique_ptr<BlockChoice> choice = make_scalar_choice(type, kColumns, kLanes);
    return choice != nullptr ? std::move(choice) : make_grid_choice(type, kColumns, kLanes);
}

std::vector<std::byte> quantized_by_ggml(int32_t type, const std::vector<float> & weights) {
    std::vector<std::byte> blocks = space_for(type, kRows, kColumns);
    const std::vector<float> importance(kColumns, 1.0F);
    ggml_quantize_chunk(static_cast<ggml_type>(type), weights.data(), blocks.data(), 0, kRows, kColumns,
                        importance.data());
    return blocks;
}

// A metric with some correlation: F upper triangular.
std::vector<float> some_factor(int64_t group) {
    std::vector<float> factor(static_cast<size_t>(group * group));
    for (int64_t i = 0; i < group; ++i) {
        for (int64_t j = i; j < group; ++j) {
            factor[static_cast<size_t>(i * group + j)] = i == j ? 1.0F + 0.1F * static_cast<float>(i) : 0.2F;
        }
    }
    return factor;
}

void choose_all(BlockChoice * choice, const std::vector<float> & targets, bool again) {
    const int64_t group = choice->group();
    const std::vector<float> factor = some_factor(group);
    for (int64_t column = 0; column < kColumns; column += group) {
        std::vector<float> target(static_cast<size_t>(group * kLanes));
        for (int64_t i = 0; i < group; ++i) {
            for (int64_t row = 0; row < kRows; ++row) {
                target[static_cast<size_t>(i * kLanes + row)] =
                    targets[static_cast<size_t>(row * kColumns + column + i)];
            }
        }
        again ? choice->choose_again(column, target.data(), factor.data())
              : choice->choose(column, target.data(), factor.data());
    }
}

// [row][column], from levels, scales and offsets.
std::vector<float> believed(BlockChoice * choice) {
    std::vector<float> levels(static_cast<size_t>(kColumns * kLanes));
    choice->levels(0, kColumns, levels.data());
    std::vector<float> values(static_cast<size_t>(kRows * kColumns));
    for (int64_t row = 0; row < kRows; ++row) {
        for (int64_t column = 0; column < kColumns; ++column) {
            values[static_cast<size_t>(row * kColumns + column)] =
                choice->scales().scale(column)[row] * levels[static_cast<size_t>(column * kLanes + row)] +
                choice->scales().offset(column)[row];
        }
    }
    return values;
}

void check_written(int32_t type, BlockChoice * choice) {
    std::vector<std::byte> blocks(space_for(type, kRows, kColumns).size(), std::byte{0xff});
    choice->close(blocks.data(), kRows);
    CHECK(ggml_validate_row_data(static_cast<ggml_type>(type), blocks.data(), blocks.size()));
    const std::vector<float> values = dequantized(type, blocks, kRows, kColumns);
    const std::vector<float> expected = believed(choice);
    int64_t n_wrong = 0;
    for (size_t i = 0; i < values.size(); ++i) {
        n_wrong += std::abs(values[i] - expected[i]) > 1e-5F ? 1 : 0;
    }
    CHECK(n_wrong == 0);
}

}  // namespace

TEST_CASE("GgmlReadsWhatWasChosen") {
    const std::vector<float> weights = random_values(kRows * kColumns, 0.3F, 1);
    for (const int32_t type : all_types()) {
        CAPTURE(name_of(type));
        const std::vector<std::byte> blocks = quantized_by_ggml(type, weights);
        const std::unique_ptr<BlockChoice> choice = make_choice(type);
        REQUIRE(choice != nullptr);
        REQUIRE(choice->open(blocks.data(), kRows));
        choose_all(choice.get(), random_values(kRows * kColumns, 0.4F, 2), false);
        check_written(type, choice.get());
        choose_all(choice.get(), random_values(kRows * kColumns, 0.2F, 3), true);
        check_written(type, choice.get());
    }
}

TEST_CASE("GgmlReadsScalesThatWereMoved") {
    const std::vector<float> weights = random_values(kRows * kColumns, 0.3F, 4);
    for (const int32_t type : all_types()) {
        CAPTURE(name_of(type));
        const std::vector<std::byte> blocks = quantized_by_ggml(type, weights);
        const std::unique_ptr<BlockChoice> choice = make_choice(type);
        REQUIRE(choice->open(blocks.data(), kRows));
        choose_all(choice.get(), weights, false);
        const std::vector<float> before = believed(choice.get());
        BlockScales & scales = choice->scales();
        const ScaleFormat & format = scales.format();
        for (int64_t column = 0; column < kColumns; column += format.scale_columns) {
            std::array<float, kLanes> change;
            for (int64_t row = 0; row < kLanes; ++row) {
                change[static_cast<size_t>(row)] = scales.scale(column)[row] * (row % 2 == 0 ? 0.4F : -0.4F);
            }
            if (format.has_codes()) {
                scales.move_scale(column, change.data());
            }
            change.fill(-0.1F);
            if (format.has_minima()) {
                scales.move_offset(column, change.data());
            }
        }
        std::array<float, kLanes> share;
        share.fill(0.1F);
        scales.move_block(0, share.data());
        CHECK(before != believed(choice.get()));
        check_written(type, choice.get());
    }
}

TEST_CASE("AScaleMovesAsNearToWhatIsWantedAsItsCodeAllows") {
    const std::vector<float> weights = random_values(kRows * kColumns, 0.3F, 5);
    const std::vector<std::byte> blocks = quantized_by_ggml(GGML_TYPE_Q6_K, weights);
    const std::unique_ptr<BlockChoice> choice = make_choice(GGML_TYPE_Q6_K);
    REQUIRE(choice->open(blocks.data(), kRows));
    BlockScales & scales = choice->scales();
    const float before = scales.scale(16)[0];
    std::array<float, kLanes> change;
    change.fill(-0.3F * before);
    scales.move_scale(16, change.data());
    CHECK(scales.scale(16)[0] == doctest::Approx(0.7F * before).epsilon(0.02));
    change.fill(std::numeric_limits<float>::quiet_NaN());
    const float after = scales.scale(16)[0];
    scales.move_scale(16, change.data());
    scales.move_block(16, change.data());
    CHECK(scales.scale(16)[0] == after);
}

TEST_CASE("ScalesThatAreNotFiniteAreNoticed") {
    for (const int32_t type : all_types()) {
        CAPTURE(name_of(type));
        // A NaN wherever the scale is.
        const std::vector<std::byte> blocks(space_for(type, 1, kColumns).size(), std::byte{0xff});
        const std::unique_ptr<BlockChoice> choice = make_choice(type);
        CHECK_FALSE(choice->open(blocks.data(), 1));
    }
}

TEST_CASE("WithoutCorrelationNothingOfTheGridIsNearerGgmlsOwnChoiceNeither") {
    const std::unique_ptr<BlockChoice> choice = make_choice(GGML_TYPE_IQ3_S);
    const std::vector<float> weights = random_values(kRows * kColumns, 0.3F, 6);
    const std::vector<std::byte> blocks = quantized_by_ggml(GGML_TYPE_IQ3_S, weights);
    REQUIRE(choice->open(blocks.data(), kRows));
    std::vector<float> factor(64, 0.0F);
    for (size_t i = 0; i < 8; ++i) {
        factor[i * 9] = 1.0F;
    }
    std::vector<float> target(8 * kLanes, 0.0F);
    for (int64_t row = 0; row < kRows; ++row) {
        for (int64_t i = 0; i < 8; ++i) {
            target[static_cast<size_t>(i * kLanes + row)] = weights[static_cast<size_t>(row * kColumns + i)];
        }
    }
    choice->choose(0, target.data(), factor.data());
    std::vector<float> levels(8 * kLanes);
    choice->levels(0, 8, levels.data());
    const std::vector<float> by_ggml = dequantized(GGML_TYPE_IQ3_S, blocks, kRows, kColumns);
    for (int64_t row = 0; row < kRows; ++row) {
        double ours = 0.0;
        double theirs = 0.0;
        for (int64_t i = 0; i < 8; ++i) {
            const auto at = static_cast<size_t>(i * kLanes + row);
            const double mine = static_cast<double>(choice->scales().scale(0)[row] * levels[at] - target[at]);
            const double other = static_cast<double>(by_ggml[static_cast<size_t>(row * kColumns + i)] - target[at]);
            ours += mine * mine;
            theirs += other * other;
        }
        CHECK(ours <= theirs * 1.0001 + 1e-12);
    }
}

}  // namespace edgemoe::test
