#include "simulate/replay.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <random>

namespace edgemoe {
namespace {

// Layers of experts that are chosen with unequal odds, so that a cache pays; `n_prompt` steps of the prompt come first.
RoutingTrace random_trace(uint32_t seed, PolicyShape shape, size_t top_k, int n_prompt, int n_decode,
                          const std::vector<uint64_t> & expert_bytes) {
    std::mt19937 random(seed);
    RoutingTrace trace;
    trace.shape = shape;
    trace.sizes = ExpertSizes::by_layer(shape.n_experts, expert_bytes);
    for (int i = 0; i < n_prompt + n_decode; ++i) {
        TraceStep step;
        step.phase = i < n_prompt ? TracePhase::kPrompt : TracePhase::kDecode;
        for (int32_t layer = 0; layer < shape.n_layers; ++layer) {
            TraceLayer served{layer, {}, 1, {}};
            const size_t n_chosen = step.phase == TracePhase::kPrompt ? 2 * top_k : top_k;
            while (served.experts.size() < n_chosen) {
                const auto n_experts = static_cast<uint32_t>(shape.n_experts);
                const auto expert = static_cast<int32_t>(std::min(random() % n_experts, random() % n_experts));
                if (std::count(served.experts.begin(), served.experts.end(), expert) == 0) {
                    served.experts.push_back(expert);
                }
            }
            step.layers.push_back(served);
        }
        trace.steps.push_back(step);
    }
    return trace;
}

// Every layer uses the same experts for each token: whatever fits can be hit.
RoutingTrace steady_trace(PolicyShape shape, int32_t top_k, int n_decode) {
    RoutingTrace trace;
    trace.shape = shape;
    trace.sizes =
        ExpertSizes::by_layer(shape.n_experts, std::vector<uint64_t>(static_cast<size_t>(shape.n_layers), 64));
    for (int i = 0; i < n_decode; ++i) {
        TraceStep step;
        for (int32_t layer = 0; layer < shape.n_layers; ++layer) {
            TraceLayer served{layer, {}, 1, {}};
            for (int32_t expert = 0; expert < top_k; ++expert) {
                served.experts.push_back(expert);
            }
            step.layers.push_back(served);
        }
        trace.steps.push_back(step);
    }
    return trace;
}

ReplayResult replayed(const RoutingTrace & trace, const std::string & policy, uint64_t budget_bytes) {
    const Result<ReplayResult> result = replay(trace, policy, budget_bytes);
    REQUIRE(result.is_ok());
    return result.value();
}

TEST_CASE("AnUnknownPolicyIsRefusedWithTheKnownOnes") {
    const Result<ReplayResult> result = replay(steady_trace({1, 2}, 1, 1), "magic", 64);
    REQUIRE_FALSE(result.is_ok());
    CHECK(result.status().code() == StatusCode::kInvalidArgument);
    CHECK(result.status().message().find("'magic' is unknown; choose one of default, lru") != std::string::npos);
}

TEST_CASE("MissesAndStaysOfEachExpertAddUp") {
    const RoutingTrace trace = random_trace(5, {3, 8}, 2, 4, 60, {64, 128, 192});
    const ReplayResult result = replayed(trace, "two-timescale", 900);
    REQUIRE(result.experts.size() == 3 * 8);
    uint64_t misses = 0, missed_bytes = 0;
    double resident_bytes = 0;
    for (size_t i = 0; i < result.experts.size(); ++i) {
        const uint64_t bytes = trace.sizes.bytes[i];
        misses += result.experts[i].misses;
        missed_bytes += result.experts[i].misses * bytes;
        CHECK(result.experts[i].resident_steps <= result.decode_tokens);
        resident_bytes += static_cast<double>(result.experts[i].resident_steps * bytes);
    }
    CHECK(misses == result.requests - result.hits);
    CHECK(missed_bytes == result.missed_bytes);
    // The cache is full but for holes.
    resident_bytes /= static_cast<double>(result.decode_tokens);
    CHECK(resident_bytes <= 900);
    CHECK(resident_bytes >= 600);
}

TEST_CASE("AnExpertThatIsAlwaysUsedStaysAndIsMissedOnce") {
    const ReplayResult result = replayed(steady_trace({2, 4}, 2, 10), "lru", 64 * 4);
    for (size_t i = 0; i < result.experts.size(); ++i) {
        CHECK(result.experts[i].misses == (i % 4 < 2 ? 1 : 0));
        CHECK(result.experts[i].resident_steps == (i % 4 < 2 ? 10 : 0));
    }
}

TEST_CASE("OnlyDecodeIsCountedAndThePromptWarmsTheCache") {
    RoutingTrace trace = steady_trace({2, 4}, 2, 3);
    const ReplayResult cold = replayed(trace, "lru", 64 * 4);
    CHECK(cold.decode_tokens == 3);
    CHECK(cold.requests == 12);
    CHECK(cold.hits == 8);
    CHECK(cold.missed_bytes == 4 * 64);
    CHECK(cold.missed_bytes_per_token() == doctest::Approx(4 * 64.0 / 3));
    CHECK(cold.evictions == 0);
    trace.steps[0].phase = TracePhase::kPrompt;
    const ReplayResult warm = replayed(trace, "lru", 64 * 4);
    CHECK(warm.decode_tokens == 2);
    CHECK(warm.requests == 8);
    CHECK(warm.hits == 8);
    CHECK(warm.missed_bytes == 0);
}

TEST_CASE("ExpertsThatAreResidentArePinnedBeforeOthersAreInserted") {
    // The least recently used, expert 0, would leave for expert 2, were it not asked for by the same layer.
    RoutingTrace trace;
    trace.shape = {1, 4};
    trace.sizes = ExpertSizes::by_layer(4, {64});
    for (const std::vector<int32_t> & experts : {std::vector<int32_t>{0}, {1}, {2, 0}}) {
        trace.steps.push_back({TracePhase::kDecode, {{0, experts, 1, {}}}});
    }
    const ReplayResult result = replayed(trace, "lru", 128);
    CHECK(result.hits == 1);
    CHECK(result.evictions == 1);
}

TEST_CASE("ExpertsOfOneLayerMayDifferInSize") {
    RoutingTrace trace;
    trace.shape = {1, 2};
    trace.sizes = {2, {64, 192}};
    for (const int32_t expert : {0, 1, 0, 1}) {
        trace.steps.push_back({TracePhase::kDecode, {{0, {expert}, 1, {}}}});
    }
    CHECK(replayed(trace, "lru", 256).missed_bytes == 256);
    CHECK(replayed(trace, "lru", 192).missed_bytes == 2 * 256);
}

TEST_CASE("ALayerLargerThanTheCacheIsServedInWaves") {
    const RoutingTrace trace = steady_trace({1, 8}, 8, 2);
    for (const std::string & policy : eviction_policy_names()) {
        CAPTURE(policy);
        const ReplayResult result = replayed(trace, policy, 3 * 64);
        CHECK(result.requests == 16);
        CHECK(result.hits <= 3);
        CHECK(result.missed_bytes == (result.requests - result.hits) * 64);
        CHECK(replayed(trace, policy, 63).hits == 0);
        CHECK(replayed(trace, policy, 0).hits == 0);
    }
}

TEST_CASE("BeladysMissesAreNeverAboveAnyPolicys") {
    for (uint32_t seed = 1; seed <= 6; ++seed) {
        CAPTURE(seed);
        const int n_prompt = seed % 2 == 0 ? 2 : 0;
        // Even seeds have mixed sizes, the others equal ones.
        const std::vector<uint64_t> sizes =
            seed % 3 == 0 ? std::vector<uint64_t>{64, 192, 128, 320} : std::vector<uint64_t>{64, 64, 64, 64};
        const RoutingTrace trace = random_trace(seed, {4, 16}, 3, n_prompt, 40, sizes);
        for (const uint64_t budget_bytes : {64 * 2, 64 * 5, 64 * 12, 64 * 13 + 32, 64 * 40, 64 * 200}) {
            CAPTURE(budget_bytes);
            const BeladyResult bound = replay_belady(trace, budget_bytes);
            for (const std::string & policy : eviction_policy_names()) {
                CAPTURE(policy);
                const ReplayResult result = replayed(trace, policy, budget_bytes);
                CHECK(result.requests == bound.requests);
                CHECK(bound.missed_bytes <= result.missed_bytes);
            }
        }
    }
}

TEST_CASE("WhenEverythingFitsEachExpertIsReadOnce") {
    const RoutingTrace trace = random_trace(3, {4, 16}, 3, 0, 60, {64, 128, 64, 192});
    const uint64_t bound = replay_belady(trace, trace.sizes.total()).missed_bytes;
    for (const std::string & policy : eviction_policy_names()) {
        CAPTURE(policy);
        const ReplayResult result = replayed(trace, policy, trace.sizes.total());
        CHECK(result.missed_bytes == bound);
        CHECK(result.evictions == 0);
    }
}

TEST_CASE("LruFallsOffTheCliffBelowOneTokensWorkingSetAndTheDefaultDoesNot") {
    const RoutingTrace trace = steady_trace({12, 16}, 4, 50);
    constexpr uint64_t kWorkingSet = 12 * 4;
    CHECK(replayed(trace, "lru", kWorkingSet * 64).hit_rate() == doctest::Approx(0.98));
    CHECK(replayed(trace, "lru", (kWorkingSet - 4) * 64).hits == 0);
    for (const uint64_t n_slots : {kWorkingSet - 4, kWorkingSet / 2, kWorkingSet / 4}) {
        CAPTURE(n_slots);
        const double share = static_cast<double>(n_slots) / kWorkingSet;
        CHECK(replayed(trace, "default", n_slots * 64).hit_rate() > 0.6 * share);
    }
}

TEST_CASE("ReplayIsDeterministic") {
    const RoutingTrace trace = random_trace(9, {4, 16}, 3, 1, 40, {64, 192, 128, 320});
    for (const std::string & policy : eviction_policy_names()) {
        CAPTURE(policy);
        const ReplayResult first = replayed(trace, policy, 2000);
        const ReplayResult second = replayed(trace, policy, 2000);
        CHECK(first.hits == second.hits);
        CHECK(first.missed_bytes == second.missed_bytes);
        CHECK(first.evictions == second.evictions);
    }
}

}  // namespace
}  // namespace edgemoe
