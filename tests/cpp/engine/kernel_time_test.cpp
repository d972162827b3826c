#include "engine/kernel_time.h"

#include "ggml.h"

#include <doctest/doctest.h>

namespace edgemoe {
namespace {

TEST_CASE("TypesThatExpertsHaveAreTimed") {
    for (const ggml_type type : {GGML_TYPE_Q4_K, GGML_TYPE_IQ2_XXS, GGML_TYPE_Q8_0}) {
        const Result<double> ns = kernel_ns_per_weight(type, 256, 64);
        REQUIRE(ns.is_ok());
        CHECK(ns.value() > 0);
    }
}

TEST_CASE("RowsThatABlockDoesNotDivideAreRefused") {
    CHECK(kernel_ns_per_weight(GGML_TYPE_Q4_K, 96, 64).status().code() == StatusCode::kUnsupported);
    CHECK(kernel_ns_per_weight(GGML_TYPE_Q8_0, 96, 64).is_ok());
}

}  // namespace
}  // namespace edgemoe
