#include "simulate/comparison.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

namespace edgemoe {
namespace {

// Two layers of four experts of 64 bytes; each token uses expert 0 of both layers, and one that changes.
RoutingTrace make_trace(int n_tokens) {
    RoutingTrace trace;
    trace.shape = {2, 4};
    trace.sizes = ExpertSizes::by_layer(4, {64, 64});
    for (int i = 0; i < n_tokens; ++i) {
        const int32_t other = 1 + i % 3;
        trace.steps.push_back({TracePhase::kDecode, {{0, {0, other}, 1, {}}, {1, {0, other}, 1, {}}}});
    }
    return trace;
}

std::vector<ComparisonRow> compared(const RoutingTrace & trace, const ComparisonOptions & options) {
    const Result<std::vector<ComparisonRow>> rows = compare_policies(trace, options);
    REQUIRE_MESSAGE(rows.is_ok(), rows.status().message());
    return rows.value();
}

TEST_CASE("RowsAreBySizeThenPolicyAndEndWithTheBound") {
    const std::vector<ComparisonRow> rows = compared(make_trace(30), {{"lfu", "lru"}, {0.5, 1.0}, {128}});
    REQUIRE(rows.size() == 9);
    for (size_t i = 0; i < rows.size(); ++i) {
        CAPTURE(i);
        CHECK(rows[i].policy == std::vector<std::string>{"lfu", "lru", "belady"}[i % 3]);
        CHECK(rows[i].cache_bytes == std::vector<uint64_t>{256, 512, 128}[i / 3]);
        CHECK(rows[i].cache_share == doctest::Approx(static_cast<double>(rows[i].cache_bytes) / 512));
        CHECK(rows[i].requests == 120);
        CHECK(rows[i].ratio_to_bound >= 1.0);
    }
    CHECK(rows[1].ratio_to_lru == 1.0);
    CHECK(rows[0].ratio_to_lru == doctest::Approx(rows[0].missed_bytes_per_token / rows[1].missed_bytes_per_token));
    CHECK(rows[2].ratio_to_bound == 1.0);
}

TEST_CASE("WhereNothingIsMissedRatiosAreOne") {
    RoutingTrace trace = make_trace(4);
    trace.steps[0].phase = trace.steps[1].phase = trace.steps[2].phase = TracePhase::kPrompt;
    for (const ComparisonRow & row : compared(trace, {{}, {1.0}, {}})) {
        CAPTURE(row.policy);
        CHECK(row.missed_bytes_per_token == 0);
        CHECK(row.ratio_to_lru == 1.0);
        CHECK(row.ratio_to_bound == 1.0);
    }
}

TEST_CASE("WithoutOptionsEveryPolicyIsReplayedAtFourSizes") {
    const std::vector<ComparisonRow> rows = compared(make_trace(10), {});
    CHECK(rows.size() == 4 * eviction_policy_names().size());  // the alias goes, the bound comes
    CHECK(std::none_of(rows.begin(), rows.end(), [](const ComparisonRow & row) { return row.policy == "default"; }));
}

TEST_CASE("WhatCannotBeComparedIsRefused") {
    const auto refused = [](const RoutingTrace & trace, const ComparisonOptions & options, const std::string & reason) {
        const Result<std::vector<ComparisonRow>> rows = compare_policies(trace, options);
        REQUIRE_FALSE(rows.is_ok());
        CHECK(rows.status().code() == StatusCode::kInvalidArgument);
        CHECK(rows.status().message().find(reason) != std::string::npos);
    };
    refused(make_trace(3), {{"magic"}, {}, {}}, "'magic' is unknown");
    refused(make_trace(3), {{}, {0.0}, {}}, "shares are above 0");
    refused(make_trace(3), {{}, {1.5}, {}}, "shares are above 0");
    refused(make_trace(3), {{}, {std::nan("")}, {}}, "shares are above 0");
    RoutingTrace prompt = make_trace(1);
    prompt.steps[0].phase = TracePhase::kPrompt;
    refused(prompt, {}, "no decoded tokens");
}

}  // namespace
}  // namespace edgemoe
