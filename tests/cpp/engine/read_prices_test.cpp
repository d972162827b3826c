#include "engine/read_prices.h"

#include "ggml.h"

#include <doctest/doctest.h>

#include <random>

namespace edgemoe {
namespace {

constexpr int32_t kExperts = 8;
constexpr size_t kTokens = 2000;
constexpr int64_t kSide = 256;
// One matrix in Q8_0: 17 blocks of 4096 bytes.
constexpr double kExpertBytes = kSide * kSide / 32.0 * 34;

ExpertIndex one_layer() {
    ExpertLayer layer;
    layer.layer = 3;
    for (int32_t expert = 0; expert < kExperts; expert++) {
        ExpertParts parts{};
        ExpertPart & part = parts[static_cast<size_t>(Projection::kUp)];
        part.present = true;
        part.type = GGML_TYPE_Q8_0;
        part.columns = kSide;
        part.rows = kSide;
        part.bytes = static_cast<uint64_t>(kExpertBytes);
        layer.experts.push_back(parts);
    }
    return {{}, {layer}, 2};
}

// Each token uses expert 0 and one of 1 to 6, which are rarer and rarer; none uses expert 7.
Profile skewed_profile() {
    Profile profile;
    profile.tokens.assign(kTokens, 0);
    LayerProfile layer;
    layer.evaluated = true;
    layer.routing.layer = 3;
    layer.routing.n_experts = kExperts;
    layer.routing.n_used = 2;
    std::mt19937 random(3);
    std::geometric_distribution<int> other(0.35);
    for (size_t token = 0; token < kTokens; token++) {
        layer.routing.ids.push_back(0);
        layer.routing.ids.push_back(static_cast<int16_t>(1 + std::min(other(random), 5)));
    }
    layer.counts = layer.routing.counts();
    profile.layers.push_back(layer);
    return profile;
}

PackedTypes all_of(int32_t type) {
    ExpertTypes types;
    types.fill(kNoType);
    types[static_cast<size_t>(Projection::kUp)] = type;
    return {std::vector<ExpertTypes>(kExperts, types)};
}

TEST_CASE("WithoutACacheBytesCostAsOftenAsTheyAreUsed") {
    const ReadPrices prices = uncached_prices(skewed_profile(), one_layer());
    CHECK(prices[0][0] == 1.0);
    CHECK(prices[0][1] > prices[0][3]);
    CHECK(prices[0][7] == 0.0);
}

TEST_CASE("AnExpertThatStaysInTheCacheCostsLessThanOneThatComesAndGoes") {
    const ExpertIndex index = one_layer();
    ReadSimulation simulation(skewed_profile(), index);
    const auto cache_bytes = static_cast<uint64_t>(4.0 * kExpertBytes);
    const Result<ReadPrices> prices = simulation.prices(all_of(GGML_TYPE_Q8_0), cache_bytes);
    REQUIRE(prices.is_ok());
    const std::vector<double> & price = prices.value()[0];
    CHECK(price[0] < 0.5);   // used by every token, and missed once
    CHECK(price[0] > 0.01);  // its room
    CHECK(price[2] > price[6]);
    CHECK(price[7] == doctest::Approx(1.0 / kTokens));
}

TEST_CASE("FewerBytesAreReadOfSmallerExpertsAndInLargerCaches") {
    const ExpertIndex index = one_layer();
    ReadSimulation simulation(skewed_profile(), index);
    const auto read = [&](int32_t type, double experts) {
        const Result<double> bytes =
            simulation.read_bytes_per_token(all_of(type), static_cast<uint64_t>(experts * kExpertBytes));
        REQUIRE(bytes.is_ok());
        return bytes.value();
    };
    CHECK(read(GGML_TYPE_Q8_0, 2) > 1.2 * read(GGML_TYPE_Q8_0, 4));
    // Half the size: half of it at each miss, and room for twice as many.
    CHECK(read(GGML_TYPE_Q8_0, 3) > 2.2 * read(GGML_TYPE_Q4_0, 3));
    // All of them fit: each is read once.
    CHECK(read(GGML_TYPE_Q8_0, 9) == doctest::Approx(7 * kExpertBytes / kTokens));
}

}  // namespace
}  // namespace edgemoe
