#include "engine/requantize.h"

#include "ggml.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <random>
#include <vector>

namespace edgemoe {
namespace {

constexpr int64_t kColumns = 256;
constexpr int64_t kRows = 7;

std::vector<std::byte> random_floats() {
    std::mt19937 random(1);
    std::normal_distribution<float> normal;
    std::vector<float> values(kColumns * kRows);
    for (float & value : values) {
        value = normal(random);
    }
    std::vector<std::byte> bytes(values.size() * sizeof(float));
    std::memcpy(bytes.data(), values.data(), bytes.size());
    return bytes;
}

std::vector<std::byte> convert(int32_t from, const std::vector<std::byte> & source, int32_t to, int32_t n_threads) {
    std::vector<std::byte> bytes(ggml_row_size(static_cast<ggml_type>(to), kColumns) * kRows);
    requantize(from, source.data(), to, bytes.data(), kRows, kColumns, n_threads);
    return bytes;
}

}  // namespace

TEST_CASE("TypesAreFoundByNameInEitherCase") {
    CHECK(parse_weight_type("q4_K").value() == GGML_TYPE_Q4_K);
    CHECK(parse_weight_type("Q4_k").value() == GGML_TYPE_Q4_K);
    CHECK(parse_weight_type("F32").value() == GGML_TYPE_F32);
    CHECK(parse_weight_type("iq2_xs").value() == GGML_TYPE_IQ2_XS);
    for (const char * name : {"", "q9", "q8_K", "q8_1", "i32"}) {
        CAPTURE(name);
        const Result<int32_t> type = parse_weight_type(name);
        REQUIRE_FALSE(type.is_ok());
        CHECK(type.status().code() == StatusCode::kInvalidArgument);
        CHECK(type.status().message().find("q4_K") != std::string::npos);
    }
}

TEST_CASE("EveryTypeIsReachedAndReadBackAtAnyThreadCount") {
    const std::vector<std::byte> floats = random_floats();
    double power = 0;
    for (int64_t i = 0; i < kColumns * kRows; ++i) {
        float value = 0;
        std::memcpy(&value, floats.data() + i * sizeof(float), sizeof(float));
        power += static_cast<double>(value) * static_cast<double>(value);
    }
    for (const char * name : {"f16", "bf16", "q8_0", "q4_0", "q2_K", "q6_K", "iq2_xxs", "iq2_xs", "iq1_s", "iq4_xs"}) {
        CAPTURE(name);
        const int32_t type = parse_weight_type(name).value();
        const std::vector<std::byte> blocks = convert(GGML_TYPE_F32, floats, type, 1);
        CHECK(convert(GGML_TYPE_F32, floats, type, 3) == blocks);
        CHECK(convert(GGML_TYPE_F32, floats, type, 20) == blocks);
        CHECK(convert(type, blocks, type, 2) == blocks);
        const std::vector<std::byte> back = convert(type, blocks, GGML_TYPE_F32, 2);
        double error = 0;
        for (int64_t i = 0; i < kColumns * kRows; ++i) {
            float before = 0;
            float after = 0;
            std::memcpy(&before, floats.data() + i * sizeof(float), sizeof(float));
            std::memcpy(&after, back.data() + i * sizeof(float), sizeof(float));
            error += std::pow(static_cast<double>(before - after), 2);
        }
        CHECK(error < 0.5 * power);
    }
}

}  // namespace edgemoe
