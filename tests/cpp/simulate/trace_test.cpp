#include "simulate/trace.h"

#include <doctest/doctest.h>

namespace edgemoe {
namespace {

const std::string kHeader =
    "# route_trace v1\n"
    "# model=tiny.gguf arch=test n_layer=2 n_expert=4 n_expert_used=2\n"
    "# layer=0 expert_bytes=100 dense_bytes=7\n"
    "# layer=1 expert_bytes=200 dense_bytes=7\n"
    "turn,phase,step,layer,slot,expert,weight,residency,expert_bytes\n";

void check_refused(const std::string & text, const std::string & reason) {
    CAPTURE(text);
    const Result<RoutingTrace> trace = parse_trace(text, "t.csv");
    REQUIRE_FALSE(trace.is_ok());
    CHECK(trace.status().code() == StatusCode::kFormat);
    CHECK(trace.status().message().find("t.csv: line ") == 0);
    CHECK(trace.status().message().find(reason) != std::string::npos);
}

TEST_CASE("PromptRowsOfALayerAreOneUbatchAndDecodeRowsAreTokens") {
    const Result<RoutingTrace> result = parse_trace(kHeader +
                                                        "0,0,0,0,0,3,0.5,0,100\n"
                                                        "0,0,0,0,1,1,0.5,0,100\n"
                                                        "0,0,1,0,0,1,0.5,0,0\n"
                                                        "0,0,1,0,1,2,0.5,0,100\n"
                                                        "0,0,0,1,0,0,0.5,0,200\n"
                                                        "0,1,2,0,0,3,0.5,0,0\r\n"
                                                        "0,1,2,1,0,1,0.5,0,200\n"
                                                        "0,1,3,0,0,2,0.5,0,0",
                                                    "t.csv");
    REQUIRE(result.is_ok());
    const RoutingTrace & trace = result.value();
    CHECK(trace.model == "tiny.gguf");
    CHECK(trace.shape.n_layers == 2);
    CHECK(trace.shape.n_experts == 4);
    CHECK(trace.sizes.bytes == std::vector<uint64_t>{100, 100, 100, 100, 200, 200, 200, 200});
    CHECK(trace.sizes.total() == 1200);
    REQUIRE(trace.steps.size() == 3);
    CHECK(trace.n_decode_steps() == 2);
    CHECK(trace.steps[0].phase == TracePhase::kPrompt);
    REQUIRE(trace.steps[0].layers.size() == 2);
    CHECK(trace.steps[0].layers[0].experts == std::vector<int32_t>{1, 2, 3});
    CHECK(trace.steps[0].layers[0].n_tokens == 2);
    CHECK(trace.steps[0].layers[0].ages == std::vector<std::vector<int32_t>>{{1, 0}, {0}, {1}});
    CHECK(trace.steps[0].layers[0].use(0).n_tokens == 2);
    CHECK(trace.steps[0].layers[1].layer == 1);
    CHECK(trace.steps[0].layers[1].experts == std::vector<int32_t>{0});
    CHECK(trace.steps[1].phase == TracePhase::kDecode);
    CHECK(trace.steps[1].layers.size() == 2);
    CHECK(trace.steps[2].layers[0].experts == std::vector<int32_t>{2});
    CHECK(trace.steps[2].layers[0].n_tokens == 1);
    CHECK(trace.steps[2].layers[0].ages == std::vector<std::vector<int32_t>>{{0}});
}

TEST_CASE("OneTokensExpertsStayInTheRoutersOrder") {
    const Result<RoutingTrace> trace = parse_trace(kHeader + "0,1,0,0,0,3\n0,1,0,0,1,0\n", "t.csv");
    REQUIRE(trace.is_ok());
    CHECK(trace.value().steps[0].layers[0].experts == std::vector<int32_t>{3, 0});
}

TEST_CASE("WithoutSizesTheExpertsOfALayerThatOccursHaveTheFallback") {
    const std::string text = "# n_layer=3 n_expert=2\n0,1,0,0,0,1\n0,1,0,2,0,1\n";
    const Result<RoutingTrace> trace = parse_trace(text, "t.csv", 7);
    REQUIRE(trace.is_ok());
    CHECK(trace.value().sizes.bytes == std::vector<uint64_t>{7, 7, 0, 0, 7, 7});
}

TEST_CASE("TokensOfAModelWithOneLayerAreToldApart") {
    const Result<RoutingTrace> trace = parse_trace(kHeader + "0,1,5,1,0,0,1\n0,1,6,1,0,0,1\n1,1,6,1,0,2,1\n", "t.csv");
    REQUIRE(trace.is_ok());
    CHECK(trace.value().steps.size() == 3);
}

TEST_CASE("AWrongTraceIsRefusedWithItsLine") {
    check_refused("", "no rows");
    check_refused(kHeader, "no rows");
    check_refused("\x1f\x8b\x08 binary", "expected turn,phase");
    check_refused("0,1,0,0,0,0,1\n", "must come before the rows");
    check_refused(kHeader + "0,1,0,0,0\n", "line 6: expected turn,phase");
    check_refused(kHeader + "0,1,0,0,0,x,1\n", "expected turn,phase");
    check_refused(kHeader + "0,1,0,0,0,1.5,1\n", "expected turn,phase");
    check_refused(kHeader + "0,1,99999999999999999999,0,0,1,1\n", "expected turn,phase");
    check_refused(kHeader + "0,2,0,0,0,1,1\n", "phase 2");
    check_refused(kHeader + "0,1,0,2,0,1,1\n", "layer 2 is not below");
    check_refused(kHeader + "0,1,0,-1,0,1,1\n", "layer -1 is not below");
    check_refused("# n_layer=2 n_expert=4\n# layer=0 expert_bytes=5\n0,1,0,1,0,0\n", "layer 1 has no expert_bytes");
    check_refused(kHeader + "0,1,0,0,0,4,1\n", "expert 4 is not below");
    check_refused(kHeader + "0,1,0,0,0,-1,1\n", "expert -1 is not below");
    check_refused(kHeader + "# next_use 1 2\n", "before the first row");
    check_refused(kHeader + "0,1,0,0,0,1,1\n# next_use 1 2 3 4 5\n", "a number for each expert");
    check_refused(kHeader + "0,1,0,0,0,1,1\n# next_use \n", "a number for each expert");
    check_refused(kHeader + "0,1,0,0,0,1,1\n# next_use 1 nan 3 4\n", "followed by numbers");
    check_refused(kHeader + "0,1,0,0,0,1,1\n# next_use 1 x 3 4\n", "followed by numbers");
}

TEST_CASE("AHostileHeaderIsRefused") {
    check_refused("# n_layer=1000000000000 n_expert=4\n", "n_layer and n_expert");
    check_refused("# n_layer=2 n_expert=0\n", "n_layer and n_expert");
    check_refused("# n_layer=2\n", "n_layer and n_expert");
    check_refused("# n_layer=4096 n_expert=65536\n", "n_layer x n_expert is more than");
    check_refused("# n_layer=2 n_expert=4\n# n_layer=1 n_expert=4\n", "given once");
    check_refused("# layer=0 expert_bytes=5\n", "below n_layer");
    check_refused("# n_layer=2 n_expert=4\n# layer=2 expert_bytes=5\n", "below n_layer");
    check_refused("# n_layer=2 n_expert=4\n# layer=0 expert_bytes=-5\n", "must be numbers");
    check_refused("# n_layer=2 n_expert=4\n# layer=0 expert_bytes=9999999999999999\n", "must be numbers");
}

}  // namespace
}  // namespace edgemoe
