#include "engine/packed_format.h"

#include "engine/gguf_header.h"
#include "engine/packed_experts.h"

#include "ggml.h"

#include <doctest/doctest.h>

#include <cstring>
#include <string>
#include <vector>

namespace edgemoe {
namespace {

Gguf parse(const std::vector<std::byte> & header) {
    return Gguf(gguf_init_from_buffer(header.data(), header.size(), {true, nullptr}));
}

ExpertPart part_of(int32_t type, int64_t columns = 64, int64_t rows = 32) {
    ExpertPart part;
    part.type = type;
    part.columns = columns;
    part.rows = rows;
    return part;
}

}  // namespace

TEST_CASE("NamesOfMatricesAreReadAsTheyAreWritten") {
    for (size_t p = 0; p < kProjectionCount; ++p) {
        const auto projection = static_cast<Projection>(p);
        const std::string name = packed_tensor_name({47, 127}, projection);
        ExpertId id;
        Projection found = Projection::kGate;
        REQUIRE(parse_packed_tensor_name(name.c_str(), &id, &found));
        CHECK(id == ExpertId{47, 127});
        CHECK(found == projection);
    }
    CHECK(packed_tensor_name({3, 5}, Projection::kGateUp) == "blk.3.ffn_gate_up_exps.5.weight");
}

TEST_CASE("OtherNamesAreNotTakenForMatrices") {
    ExpertId id;
    Projection projection = Projection::kGate;
    for (const char * name :
         {"", "blk.0.ffn_gate_exps.weight", "blk.0.ffn_gate.1.weight", "blk.0.ffn_gate_exps.1.bias",
          "blk.0.ffn_gate_exps.-1.weight", "blk.-1.ffn_gate_exps.1.weight", "blk.0.ffn_gate_exps.1.weight2",
          "blk.0.ffn_gate_exps.99999999999.weight", "blk..ffn_gate_exps.1.weight", "xblk.0.ffn_gate_exps.1.weight"}) {
        CAPTURE(name);
        CHECK_FALSE(parse_packed_tensor_name(name, &id, &projection));
    }
}

TEST_CASE("AHeaderIsReadAsItWasWrittenAndKeepsItsLengthWhenValuesChange") {
    const Gguf source(gguf_init_empty());
    gguf_set_val_str(source.get(), "general.architecture", "qwen3moe");
    gguf_set_val_u32(source.get(), "general.alignment", 64);
    gguf_set_val_u32(source.get(), "split.count", 3);
    gguf_set_val_u32(source.get(), "edgemoe.packed.version", 9);
    GgufHeader header(source.get(), kPackedAlignment);
    header.set({"a.text", std::string("x")});
    header.set({"a.list", std::vector<uint32_t>{1, 2, 3}});
    header.set({"a.number", 1.5});
    CHECK(header.add_tensor("first", GGML_TYPE_Q4_0, {64, 3}) == 0);
    CHECK(header.add_tensor("second", GGML_TYPE_F32, {7}) == 4096);
    CHECK(header.data_bytes() == 8192);
    const std::vector<std::byte> before = header.bytes();
    CHECK(before.size() % kPackedAlignment == 0);

    header.set({"a.list", std::vector<uint32_t>{4, 5, 6}});
    header.set({"a.number", 2.5});
    const std::vector<std::byte> after = header.bytes();
    CHECK(after.size() == before.size());
    CHECK(after != before);
    const Gguf read = parse(after);
    REQUIRE(read != nullptr);
    CHECK(gguf_get_n_tensors(read.get()) == 2);
    CHECK(std::string(gguf_get_tensor_name(read.get(), 1)) == "second");
    CHECK(gguf_get_tensor_offset(read.get(), 1) == 4096);
    CHECK(gguf_get_data_offset(read.get()) == after.size());
    CHECK(gguf_get_alignment(read.get()) == kPackedAlignment);
    CHECK(gguf_get_val_f64(read.get(), gguf_find_key(read.get(), "a.number")) == 2.5);
    CHECK(std::string(gguf_get_val_str(read.get(), gguf_find_key(read.get(), "general.architecture"))) == "qwen3moe");
    CHECK(gguf_find_key(read.get(), "split.count") < 0);
    CHECK(gguf_find_key(read.get(), "edgemoe.packed.version") < 0);
}

TEST_CASE("AnExpertThatIsMissingTwiceThereOrNotTheModelsIsNamed") {
    PackedExperts experts(3);
    CHECK(experts.add({1, 0}, Projection::kDown, part_of(GGML_TYPE_Q4_0)).is_ok());
    CHECK(experts.add({1, 2}, Projection::kDown, part_of(GGML_TYPE_Q8_0)).is_ok());
    CHECK(experts.check_whole().message().find("tensor blk.1.ffn_down_exps.1.weight is missing") == 0);
    CHECK(experts.add({1, 2}, Projection::kDown, part_of(GGML_TYPE_Q8_0)).message().find("twice") != std::string::npos);
    CHECK(experts.add({1, 3}, Projection::kDown, part_of(GGML_TYPE_Q8_0)).message().find("has 3 a layer") !=
          std::string::npos);
    CHECK(experts.add({1, 1}, Projection::kDown, part_of(GGML_TYPE_Q8_0, 64, 31)).message().find("another shape") !=
          std::string::npos);
    CHECK(experts.add({1, 1}, Projection::kDown, part_of(GGML_TYPE_Q8_0)).is_ok());
    CHECK(experts.check_whole().is_ok());
    CHECK(PackedExperts::nominal_type(experts.stacks().begin()->second) == GGML_TYPE_Q8_0);
}

}  // namespace edgemoe
