#include "backend/expert_buffer_type.h"

#include "ggml.h"

#include <doctest/doctest.h>

#include <cstdint>
#include <regex>
#include <string>
#include <vector>

namespace edgemoe {

TEST_CASE("NamesOfExpertTensorsGiveLayerAndProjection") {
    for (const auto & [name, layer, projection] : {std::tuple{"blk.0.ffn_gate_exps.weight", 0, Projection::kGate},
                                                   {"blk.17.ffn_up_exps.weight", 17, Projection::kUp},
                                                   {"blk.3.ffn_gate_up_exps.weight", 3, Projection::kGateUp},
                                                   {"blk.123.ffn_down_exps.weight", 123, Projection::kDown}}) {
        CAPTURE(std::string(name));
        int32_t found_layer = -1;
        Projection found_projection = Projection::kGate;
        CHECK(parse_expert_tensor_name(name, &found_layer, &found_projection));
        CHECK(found_layer == layer);
        CHECK(found_projection == projection);
        CHECK(std::regex_search(name, std::regex(kExpertTensorPattern)));
    }
}

namespace {

void check_is_no_expert_tensor(const std::string & name) {
    CAPTURE(name);
    int32_t layer = -7;
    Projection projection = Projection::kDown;
    CHECK_FALSE(parse_expert_tensor_name(name.c_str(), &layer, &projection));
    CHECK(layer == -7);
    CHECK(projection == Projection::kDown);
}

}  // namespace

TEST_CASE("OtherNamesAreNoExpertTensorsAndThePatternThatLlamaGetsAgrees") {
    for (const std::string name :
         {"", "blk.", "blk.1", "blk.1.ffn_", "blk.1.ffn_gate.weight", "blk.1.ffn_gate_exps.bias",
          "blk.1.ffn_gate_exps.weight.scale", "blk.1.ffn_gate_exps", "blk.-1.ffn_gate_exps.weight",
          "blk.x.ffn_gate_exps.weight", "blk.1.ffn_gate_inp.weight", "blk.1.ffn_down_shexp.weight",
          "blk.1.ffn_norm_exps.weight", "ablk.1.ffn_up_exps.weight", "blk.1.ffn_up_exps.weight "}) {
        check_is_no_expert_tensor(name);
        CHECK_FALSE(std::regex_search(name, std::regex(kExpertTensorPattern)));
    }
}

TEST_CASE("OnlyDigitsThatFitAreALayerNumber") {
    check_is_no_expert_tensor("blk.+1.ffn_up_exps.weight");
    check_is_no_expert_tensor("blk. 1.ffn_up_exps.weight");
    check_is_no_expert_tensor("blk.99999999999.ffn_up_exps.weight");
}

TEST_CASE("ATensorInTheBufferTypeHasAnAddressAndLeadsBack") {
    ExpertBufferType type;
    constexpr size_t kBytes = size_t{1} << 40;  // no memory behind it
    ggml_backend_buffer_t buffer = ggml_backend_buft_alloc_buffer(type.handle(), kBytes);
    REQUIRE(buffer != nullptr);
    ggml_context * context = ggml_init({ggml_tensor_overhead() * 2, nullptr, true});
    ggml_tensor * tensor = ggml_new_tensor_1d(context, GGML_TYPE_F32, 1024);
    CHECK(expert_buffer_type_of(tensor) == nullptr);
    CHECK(expert_buffer_type_of(nullptr) == nullptr);
    REQUIRE(ggml_backend_tensor_alloc(buffer, tensor, ggml_backend_buffer_get_base(buffer)) == GGML_STATUS_SUCCESS);
    CHECK(expert_buffer_type_of(tensor) == &type);
    // Whoever writes to it touches nothing; whoever reads it gets zeros.
    std::vector<float> values(1024, 1.0F);
    ggml_backend_tensor_set(tensor, values.data(), 0, values.size() * sizeof(float));
    ggml_backend_tensor_get(tensor, values.data(), 0, values.size() * sizeof(float));
    CHECK(values == std::vector<float>(1024, 0.0F));
    ggml_backend_buffer_free(buffer);
    ggml_free(context);
}

TEST_CASE("TheFirstFailureIsKeptUntilItIsTaken") {
    ExpertBufferType type;
    CHECK(type.take_failure().is_ok());
    type.set_failure(Status(StatusCode::kIo, "first"));
    type.set_failure(Status(StatusCode::kInternal, "second"));
    CHECK(type.take_failure().message() == "first");
    CHECK(type.take_failure().is_ok());
}

}  // namespace edgemoe
