#include "engine/profile.h"

#include "temporary_file.h"

#include "ggml.h"

#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>

namespace edgemoe {
namespace {

constexpr int32_t kExperts = 3, kUsed = 2;
constexpr size_t kTokens = 5;

LayerProfile small_layer(int32_t number) {
    LayerProfile layer;
    layer.routing = {number, kExperts, kUsed, {0, 1, 0, 1, 0, 2, 0, 1, 0, 1}, std::vector<float>(10, 0.5F)};
    layer.evaluated = true;
    layer.counts = layer.routing.counts();
    layer.mass = layer.routing.mass();
    layer.total_weight = {1.25, 1.0, 0.25};
    layer.input = {4, {5, 10, 15, 20, 4, 4, 4, 4, 1, 0, 0, 3}};
    layer.down = {2, {2.5, 5, 1, 2, 0.25, 0.5}};
    return layer;
}

Profile small_profile() {
    Profile profile;
    profile.model = {"qwen3moe", "small", 4, 4, kExperts, kUsed, 1000, 0xfedcba9876543210};
    profile.tokens = {1, 2, 3, 4, 5};
    profile.n_ctx = 5;
    profile.layers = {small_layer(1), small_layer(3)};
    profile.layers[1].evaluated = false;
    profile.layers[1].weights_before_experts = true;
    profile.layers[1].down = {};
    profile.layers[1].chain.refusal = "because";
    return profile;
}

SensitivityTable small_table() {
    SensitivityTable table;
    table.formula_version = 2;
    table.formula = "KL of the group, by error";
    table.types = {GGML_TYPE_Q4_K, GGML_TYPE_IQ2_XS};
    table.damage.assign(2, std::vector<float>(kExperts * kProjectionCount * 2, 0.125F));
    table.damage[1][5] = 3;
    table.group_kl.assign(2 * kProjectionCount * 2, 0.5F);
    table.group_tokens = 77;
    return table;
}

}  // namespace

TEST_CASE("AProfileIsReadAgainAsItWasSaved") {
    const test::TemporaryDirectory folder;
    const std::string path = folder.path() + "/a.profile";
    Profile profile = small_profile();
    profile.sensitivity = small_table();
    REQUIRE(profile.save(path).is_ok());
    CHECK_FALSE(std::filesystem::exists(path + ".part"));
    const Result<Profile> loaded = Profile::load(path);
    REQUIRE(loaded.is_ok());
    const Profile & read = loaded.value();
    CHECK(read.model.same_file(profile.model));
    CHECK(read.model.name == "small");
    CHECK(read.tokens == profile.tokens);
    CHECK(read.n_ctx == 5);
    REQUIRE(read.layers.size() == 2);
    for (size_t i = 0; i < 2; i++) {
        const LayerProfile & a = profile.layers[i];
        const LayerProfile & b = read.layers[i];
        CHECK((a.routing.layer == b.routing.layer && a.routing.ids == b.routing.ids));
        CHECK(a.routing.weights == b.routing.weights);
        CHECK((a.evaluated == b.evaluated && a.weights_before_experts == b.weights_before_experts));
        CHECK((a.counts == b.counts && a.mass == b.mass && a.total_weight == b.total_weight));
        CHECK((a.input.sums == b.input.sums && a.down.sums == b.down.sums && a.down.columns == b.down.columns));
        CHECK(a.chain.refusal == b.chain.refusal);
    }
    REQUIRE(read.sensitivity.has_value());
    CHECK(read.sensitivity->types == small_table().types);
    CHECK(read.sensitivity->damage == small_table().damage);
    CHECK(read.sensitivity->group_kl == small_table().group_kl);
    CHECK(read.sensitivity->formula == small_table().formula);
    CHECK(read.sensitivity->group_tokens == 77);
}

TEST_CASE("AProfileWithoutSensitivityHasNone") {
    const test::TemporaryDirectory folder;
    REQUIRE(small_profile().save(folder.path() + "/a.profile").is_ok());
    CHECK_FALSE(Profile::load(folder.path() + "/a.profile").value().sensitivity.has_value());
}

TEST_CASE("AFlippedByteAnywhereInTheDataIsNoticed") {
    const test::TemporaryDirectory folder;
    const std::string path = folder.path() + "/a.profile";
    REQUIRE(small_profile().save(path).is_ok());
    std::ifstream file(path, std::ios::binary);
    const std::string bytes((std::istreambuf_iterator<char>(file)), {});
    // The data of the last tensor end the file; padding between tensors is not checked.
    std::string damaged = bytes;
    damaged[bytes.size() - 32] = static_cast<char>(damaged[bytes.size() - 32] ^ 0x10);
    std::ofstream(path, std::ios::binary) << damaged;
    CHECK(Profile::load(path).status().code() == StatusCode::kFormat);
    for (size_t size = 0; size < bytes.size(); size += 97) {
        std::ofstream(path, std::ios::binary) << bytes.substr(0, size);
        CHECK(Profile::load(path).status().code() == StatusCode::kFormat);
    }
}

TEST_CASE("AProfileThatIsNotThereIsNotFound") {
    CHECK(Profile::load("/nowhere/a.profile").status().code() == StatusCode::kNotFound);
}

TEST_CASE("ImportanceIsTheExpertsMeanBlendedWithTheLayers") {
    const Profile profile = small_profile();
    const LayerProfile & layer = profile.layers[0];
    const double layer_weight = 2.5, layer_tokens = 10, prior = Profile::kPriorTokens * layer_weight / layer_tokens;
    const std::vector<float> importance = profile.importance({1, 0}, Projection::kUp);
    REQUIRE(importance.size() == 4);
    CHECK(importance[0] == doctest::Approx((5 + prior * 10 / layer_weight) / (1.25 + prior)));
    CHECK(importance == profile.importance({1, 0}, Projection::kGate));
    CHECK(profile.importance({1, 0}, Projection::kDown).size() == 2);
    // Much traffic outweighs the layer's mean.
    Profile busy = profile;
    for (float & sum : busy.layers[0].input.sums) {
        sum *= 1e6F;
    }
    for (double & weight : busy.layers[0].total_weight) {
        weight *= 1e6;
    }
    for (uint32_t & count : busy.layers[0].counts) {
        count *= 1000000;
    }
    CHECK(busy.importance({1, 2}, Projection::kUp)[1] == doctest::Approx(0).epsilon(1e-2));
    CHECK(profile.importance({1, 2}, Projection::kUp)[1] > 1.0F);
    CHECK(layer.counts[2] == 1);
}

TEST_CASE("AnExpertThatNoTokenReachedGetsTheLayersMean") {
    Profile profile = small_profile();
    LayerProfile & layer = profile.layers[0];
    layer.counts[2] = 0;
    layer.total_weight[2] = 0;
    std::fill(layer.input.sums.begin() + 8, layer.input.sums.end(), 0.0F);
    const std::vector<float> importance = profile.importance({1, 2}, Projection::kUp);
    REQUIRE(importance.size() == 4);
    CHECK(importance[0] == doctest::Approx(9 / 2.25));
    CHECK(importance[3] == doctest::Approx(24 / 2.25));
}

TEST_CASE("NothingIsSaidOfWhatIsNotKnown") {
    const Profile profile = small_profile();
    CHECK(profile.importance({3, 0}, Projection::kDown).empty());
    CHECK(profile.importance({2, 0}, Projection::kUp).empty());
    CHECK(profile.importance({1, 3}, Projection::kUp).empty());
    CHECK(profile.find(2) == nullptr);
}

TEST_CASE("HardlyReachedExpertsAreThoseOfEvaluatedLayers") {
    Profile profile = small_profile();
    profile.layers[0].counts = {kFewTokens, kFewTokens - 1, 0};
    const std::vector<ExpertId> expected = {{1, 1}, {1, 2}};
    CHECK(profile.hardly_reached() == expected);
}

}  // namespace edgemoe
