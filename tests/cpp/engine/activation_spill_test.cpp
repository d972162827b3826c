#include "engine/activation_spill.h"

#include "temporary_file.h"

#include <doctest/doctest.h>

#include <cmath>
#include <filesystem>

namespace edgemoe {
namespace {

constexpr int64_t kTokens = 20;
constexpr int32_t kColumns = 24;
constexpr int32_t kUsed = 2;

SpillShape small_shape() {
    SpillShape shape;
    shape.fingerprint = 7;
    shape.n_tokens = kTokens;
    shape.layers = {{1, kColumns, 4, kUsed}, {3, kColumns, 4, kUsed}};
    return shape;
}

float value_at(size_t layer, int64_t token, int32_t column) {
    return static_cast<float>(layer + 1) * std::sin(static_cast<float>(token * kColumns + column));
}

Status write_tokens(ActivationSpill & spill, int64_t first, int64_t n) {
    for (size_t layer = 0; layer < 2; layer++) {
        std::vector<float> inputs, weights;
        std::vector<int16_t> ids;
        for (int64_t token = first; token < first + n; token++) {
            for (int32_t c = 0; c < kColumns; c++) {
                inputs.push_back(value_at(layer, token, c));
            }
            for (int32_t k = 0; k < kUsed; k++) {
                ids.push_back(static_cast<int16_t>((token + k) % 4));
                weights.push_back(static_cast<float>(token) + 0.25F * static_cast<float>(k));
            }
        }
        const Status status = spill.write(layer, first, n, inputs.data(), ids.data(), weights.data());
        if (!status.is_ok()) {
            return status;
        }
        LayerFacts facts;
        facts.seen = true;
        facts.chain.refusal = "none";
        const Status told = spill.set_facts(layer, facts);
        if (!told.is_ok()) {
            return told;
        }
    }
    return spill.advance(first + n);
}

}  // namespace

TEST_CASE("WhatIsWrittenIsReadLayerByLayer") {
    const test::TemporaryDirectory folder;
    const std::string path = folder.path() + "/spill";
    const auto spill = ActivationSpill::open(path, small_shape()).value();
    CHECK(spill->n_written() == 0);
    REQUIRE(write_tokens(*spill, 0, 12).is_ok());
    CHECK_FALSE(spill->complete());
    REQUIRE(write_tokens(*spill, 12, 8).is_ok());
    CHECK(spill->complete());
    CHECK(std::filesystem::file_size(path) == ActivationSpill::size_bytes(small_shape()));
    const LayerActivations layer = spill->read_layer(1).value();
    CHECK(layer.shape.layer == 3);
    CHECK(layer.n_tokens == kTokens);
    std::vector<float> rows(2 * kColumns);
    layer.decode({19, 4}, rows.data());
    for (int32_t c = 0; c < kColumns; c++) {
        CHECK(rows[static_cast<size_t>(c)] == doctest::Approx(value_at(1, 19, c)).epsilon(1e-3));
        CHECK(rows[static_cast<size_t>(kColumns + c)] == doctest::Approx(value_at(1, 4, c)).epsilon(1e-3));
    }
    CHECK(layer.ids[5 * kUsed + 1] == 6 % 4);
    CHECK(layer.weights[5 * kUsed + 1] == 5.25F);
    CHECK(spill->read_routing(0).value().inputs.empty());
}

TEST_CASE("ValuesThatSixteenBitsDoNotHoldAreScaled") {
    const test::TemporaryDirectory folder;
    SpillShape shape = small_shape();
    shape.n_tokens = 1;
    shape.layers.resize(1);
    const auto spill = ActivationSpill::open(folder.path() + "/spill", shape).value();
    std::vector<float> row(kColumns, 1e6F);
    row[3] = -3e8F;
    const int16_t ids[] = {0, 1};
    const float weights[] = {1, 1};
    REQUIRE(spill->write(0, 0, 1, row.data(), ids, weights).is_ok());
    REQUIRE(spill->advance(1).is_ok());
    std::vector<float> read(kColumns);
    spill->read_layer(0).value().decode({0}, read.data());
    CHECK(read[3] == doctest::Approx(-3e8).epsilon(1e-3));
    CHECK(read[0] == doctest::Approx(1e6).epsilon(1e-3));
}

TEST_CASE("AnotherRunGoesOnFromAFileOfTheSameShapeOnly") {
    const test::TemporaryDirectory folder;
    const std::string path = folder.path() + "/spill";
    {
        const auto spill = ActivationSpill::open(path, small_shape()).value();
        REQUIRE(write_tokens(*spill, 0, kTokens).is_ok());
    }
    {
        const auto again = ActivationSpill::open(path, small_shape()).value();
        CHECK(again->complete());
        CHECK(again->facts(1).seen);
        CHECK(again->facts(1).chain.refusal == "none");
        CHECK(again->read_layer(0).value().weights[2] == 1.0F);
    }
    SpillShape other = small_shape();
    other.fingerprint++;
    const auto anew = ActivationSpill::open(path, other).value();
    CHECK(anew->n_written() == 0);
    CHECK_FALSE(anew->facts(1).seen);
}

TEST_CASE("ADiskThatIsTooSmallIsRefusedWithBothSizes") {
    const test::TemporaryDirectory folder;
    const std::string path = folder.path() + "/spill";
    SpillShape shape = small_shape();
    shape.n_tokens = int64_t{1} << 42;
    const auto spill = ActivationSpill::open(path, shape);
    REQUIRE_FALSE(spill.is_ok());
    CHECK(spill.status().code() == StatusCode::kIo);
    CHECK(spill.status().message().find("MiB, of which") != std::string::npos);
    CHECK(spill.status().message().find("are free") != std::string::npos);
    CHECK_FALSE(std::filesystem::exists(path));
}

TEST_CASE("AFolderThatIsNotThereIsAnError") {
    const auto spill = ActivationSpill::open("/nowhere/at/all/spill", small_shape());
    REQUIRE_FALSE(spill.is_ok());
    CHECK(spill.status().message().find("/nowhere/at/all/spill") != std::string::npos);
}

TEST_CASE("RoutingThatIsDamagedIsRefused") {
    const test::TemporaryDirectory folder;
    const std::string path = folder.path() + "/spill";
    const auto spill = ActivationSpill::open(path, small_shape()).value();
    REQUIRE(write_tokens(*spill, 0, kTokens).is_ok());
    std::vector<float> inputs(kColumns);
    const int16_t ids[] = {0, 77};
    const float weights[] = {1, 1};
    REQUIRE(spill->write(0, 5, 1, inputs.data(), ids, weights).is_ok());
    CHECK(spill->read_layer(0).status().code() == StatusCode::kFormat);
    CHECK(spill->read_layer(1).is_ok());
}

}  // namespace edgemoe
