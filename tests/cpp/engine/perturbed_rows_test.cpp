#include "engine/perturbed_rows.h"

#include "ggml.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>

namespace edgemoe {
namespace {

constexpr int64_t kColumns = 256, kRows = 64;

// Copies, as for matrices that are not interleaved.
class Copy : public RowConverter {
public:
    void convert(const ExpertPart & part, int64_t /*first_row*/, int64_t n_rows, const std::byte * source,
                 std::byte * destination) const override {
        std::memcpy(destination, source, static_cast<size_t>(n_rows) * (part.bytes / static_cast<size_t>(part.rows)));
    }
};

struct Fixture {
    ExpertIndex index;
    Copy copy;
    std::vector<float> weights;

    Fixture() : weights(kColumns * kRows) {
        ExpertLayer layer;
        layer.layer = 2;
        layer.experts.resize(2);
        for (ExpertParts & parts : layer.experts) {
            for (const Projection projection : {Projection::kUp, Projection::kDown}) {
                ExpertPart & part = parts[static_cast<size_t>(projection)];
                part.present = true;
                part.type = GGML_TYPE_F32;
                part.columns = kColumns;
                part.rows = kRows;
                part.bytes = kColumns * kRows * sizeof(float);
            }
        }
        index = ExpertIndex({}, {layer}, 1);
        for (size_t i = 0; i < weights.size(); i++) {
            weights[i] = std::sin(static_cast<float>(i) * 0.37F);
        }
    }

    // Both halves of a matrix, as the store hands them out.
    std::vector<float> converted(const PerturbedRows & rows, ExpertId id, Projection projection) const {
        const ExpertPart & part = index.parts(id)[static_cast<size_t>(projection)];
        std::vector<float> result(weights.size());
        for (const int64_t first : {int64_t{0}, kRows / 2}) {
            rows.convert(part, first, kRows / 2, reinterpret_cast<const std::byte *>(weights.data() + first * kColumns),
                         reinterpret_cast<std::byte *>(result.data() + first * kColumns));
        }
        return result;
    }

    std::vector<std::byte> quantized(ggml_type type) const {
        std::vector<std::byte> blocks(kRows * ggml_row_size(type, kColumns));
        ggml_quantize_chunk(type, weights.data(), blocks.data(), 0, kRows, kColumns, nullptr);
        return blocks;
    }
};

std::vector<float> dequantized(ggml_type type, const std::vector<std::byte> & blocks) {
    std::vector<float> values(kColumns * kRows);
    ggml_get_type_traits(type)->to_float(blocks.data(), values.data(), kColumns * kRows);
    return values;
}

}  // namespace

TEST_CASE_FIXTURE(Fixture, "OnlyTheChosenMatrixIsOtherThanInTheFile") {
    PerturbedRows rows(index, copy);
    REQUIRE(rows.quantize({2, 1}, Projection::kUp, GGML_TYPE_Q4_K, {}).is_ok());
    CHECK(converted(rows, {2, 0}, Projection::kUp) == weights);
    CHECK(converted(rows, {2, 1}, Projection::kDown) == weights);
    CHECK(converted(rows, {2, 1}, Projection::kUp) == dequantized(GGML_TYPE_Q4_K, quantized(GGML_TYPE_Q4_K)));
    rows.clear();
    CHECK(converted(rows, {2, 1}, Projection::kUp) == weights);
}

TEST_CASE_FIXTURE(Fixture, "AMatrixCanBeReplacedByBlocksOrFloats") {
    PerturbedRows rows(index, copy);
    const std::vector<std::byte> blocks = quantized(GGML_TYPE_Q3_K);
    REQUIRE(rows.replace({2, 0}, Projection::kDown, GGML_TYPE_Q3_K, blocks.data(), blocks.size()).is_ok());
    CHECK(converted(rows, {2, 0}, Projection::kDown) == dequantized(GGML_TYPE_Q3_K, blocks));
    const std::vector<float> other(weights.size(), 0.5F);
    REQUIRE(rows.replace({2, 0}, Projection::kDown, GGML_TYPE_F32, reinterpret_cast<const std::byte *>(other.data()),
                         other.size() * sizeof(float))
                .is_ok());
    CHECK(converted(rows, {2, 0}, Projection::kDown) == other);
}

TEST_CASE_FIXTURE(Fixture, "ImportanceChangesWhatIsChosen") {
    PerturbedRows rows(index, copy);
    std::vector<float> importance(kColumns, 1e-3F);
    importance[7] = 1e3F;
    REQUIRE(rows.quantize({2, 0}, Projection::kUp, GGML_TYPE_Q2_K, importance).is_ok());
    const std::vector<float> with = converted(rows, {2, 0}, Projection::kUp);
    const std::vector<float> without = dequantized(GGML_TYPE_Q2_K, quantized(GGML_TYPE_Q2_K));
    double error_with = 0, error_without = 0;
    for (size_t row = 0; row < kRows; row++) {
        const size_t i = row * kColumns + 7;
        error_with += std::abs(with[i] - weights[i]);
        error_without += std::abs(without[i] - weights[i]);
    }
    CHECK(error_with < error_without);
}

TEST_CASE_FIXTURE(Fixture, "TypesThatNeedAnImportanceMatrixWorkWithoutOne") {
    PerturbedRows rows(index, copy);
    REQUIRE(rows.quantize({2, 0}, Projection::kUp, GGML_TYPE_IQ2_XXS, {}).is_ok());
    const std::vector<float> values = converted(rows, {2, 0}, Projection::kUp);
    double error = 0;
    for (size_t i = 0; i < values.size(); i++) {
        error += (values[i] - weights[i]) * (values[i] - weights[i]);
    }
    CHECK(error > 0);
    CHECK(error < 0.25 * static_cast<double>(values.size()));
}

TEST_CASE_FIXTURE(Fixture, "ImpossibleChangesAreRefusedByName") {
    PerturbedRows rows(index, copy);
    const auto code = [&](ExpertId id, Projection projection, int32_t type, const std::vector<float> & importance) {
        return rows.quantize(id, projection, type, importance).code();
    };
    CHECK(code({2, 0}, Projection::kGate, GGML_TYPE_Q4_K, {}) == StatusCode::kNotFound);
    CHECK(code({1, 0}, Projection::kUp, GGML_TYPE_Q4_K, {}) == StatusCode::kNotFound);
    CHECK(code({2, 2}, Projection::kUp, GGML_TYPE_Q4_K, {}) == StatusCode::kNotFound);
    CHECK(code({2, 0}, Projection::kUp, 12345, {}) == StatusCode::kInvalidArgument);
    CHECK(code({2, 0}, Projection::kUp, GGML_TYPE_Q4_K, {1, 2}) == StatusCode::kInvalidArgument);
    const std::byte one{};
    CHECK(rows.replace({2, 0}, Projection::kUp, GGML_TYPE_Q4_K, &one, 1).code() == StatusCode::kInvalidArgument);
}

}  // namespace edgemoe
