#include "engine/type_ladder.h"

#include "ggml.h"

#include <doctest/doctest.h>

#include <string>

namespace edgemoe {
namespace {

TEST_CASE("NamesAreThoseOfGgmlInAnyCase") {
    const Result<std::vector<int32_t>> ladder = parse_ladder("IQ2_XS,q4_K,Q8_0,q4_k");
    REQUIRE(ladder.is_ok());
    CHECK(ladder.value() == std::vector<int32_t>{GGML_TYPE_IQ2_XS, GGML_TYPE_Q4_K, GGML_TYPE_Q8_0});
}

TEST_CASE("UnknownNamesAreRefused") {
    for (const char * names : {"", "q4_k,", "q4_k,,q8_0", "iq9_z", "i32"}) {
        const Result<std::vector<int32_t>> ladder = parse_ladder(names);
        CHECK_MESSAGE(ladder.status().code() == StatusCode::kInvalidArgument, std::string(names));
    }
}

TEST_CASE("TheDefaultLadderHasATypeForEveryWidth") {
    bool narrow = false;
    for (const int32_t type : default_ladder()) {
        narrow = narrow || ggml_blck_size(static_cast<ggml_type>(type)) == 32;
        const bool can_be_read = ggml_get_type_traits(static_cast<ggml_type>(type))->to_float != nullptr;
        CHECK(can_be_read);
    }
    CHECK(narrow);
}

}  // namespace
}  // namespace edgemoe
