#include "cache/belady.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <limits>
#include <random>

namespace edgemoe {
namespace {

std::vector<ExpertDemand> one_by_one(const std::vector<int32_t> & experts) {
    std::vector<ExpertDemand> demands;
    for (const int32_t expert : experts) {
        demands.push_back({0, {expert}, true});
    }
    return demands;
}

// One layer of experts of `bytes` bytes.
ExpertSizes of_size(uint64_t bytes) {
    return ExpertSizes::by_layer(8, {bytes});
}

TEST_CASE("BeladyReproducesTheTextbookExample") {
    // Silberschatz et al., "Operating System Concepts": nine faults with three frames.
    const auto demands = one_by_one({7, 0, 1, 2, 0, 3, 0, 4, 2, 3, 0, 3, 2, 1, 2, 0, 1, 7, 0, 1});
    const BeladyResult result = belady(demands, of_size(10), 30);
    CHECK(result.requests == 20);
    CHECK(result.missed_bytes == 90);
    CHECK(result.misses == doctest::Approx(9));
    CHECK(result.hit_rate() == doctest::Approx(11.0 / 20));
}

TEST_CASE("ExpertsOfOneDemandArePinnedTogether") {
    // Expert 0 is needed soonest, but has to leave for a demand that fills the cache.
    const std::vector<ExpertDemand> demands{{0, {0}}, {0, {1, 2}}, {0, {0}}};
    CHECK(belady(demands, of_size(1), 2).missed_bytes == 4);
    CHECK(belady(demands, of_size(1), 3).missed_bytes == 3);
}

TEST_CASE("WhatIsNotCountedWarmsTheCache") {
    const std::vector<ExpertDemand> demands{{0, {0, 1}, false}, {0, {2}, false}, {0, {0}, true}, {0, {2}, true}};
    CHECK(belady(demands, of_size(8), 16).missed_bytes == 0);
    CHECK(belady(demands, of_size(8), 8).missed_bytes == 8);
    CHECK(belady(demands, of_size(8), 16).requests == 2);
}

TEST_CASE("NothingFitsABudgetOfZero") {
    const BeladyResult result = belady(one_by_one({1, 1, 1}), of_size(8), 0);
    CHECK(result.missed_bytes == 24);
    CHECK(result.hit_rate() == 0.0);
    CHECK(belady({}, of_size(8), 100).hit_rate() == 0.0);
}

TEST_CASE("ExpertsOfOneLayerMayDifferInSize") {
    ExpertSizes sizes{3, {8, 2, 0}};
    const auto demands = one_by_one({0, 1, 0, 1});
    CHECK(belady(demands, sizes, 10).missed_bytes == 10);
    // Beside the small one 6 of the large one's 8 bytes are kept; beside the large one nothing.
    CHECK(belady(demands, sizes, 8).missed_bytes == 8 + 2 + 2 + 2);
}

TEST_CASE("AnExpertMayBeKeptInPart") {
    // 5 bytes beside the pinned expert 1 keep half of expert 0.
    const BeladyResult result = belady(one_by_one({0, 1, 0}), of_size(10), 15);
    CHECK(result.missed_bytes == 25);
    CHECK(result.misses == doctest::Approx(2.5));
}

// The least misses by trying every choice of victim; one expert at a time, so a cache is a set of experts.
uint64_t least_misses(const std::vector<int32_t> & experts, size_t at, std::vector<int32_t> cache, size_t n_slots) {
    for (; at < experts.size(); ++at) {
        if (std::count(cache.begin(), cache.end(), experts[at]) != 0) {
            continue;
        }
        if (cache.size() < n_slots) {
            cache.push_back(experts[at]);
            return 1 + least_misses(experts, at + 1, cache, n_slots);
        }
        uint64_t least = std::numeric_limits<uint64_t>::max();
        for (size_t victim = 0; victim < n_slots; ++victim) {
            std::vector<int32_t> next = cache;
            next[victim] = experts[at];
            least = std::min(least, 1 + least_misses(experts, at + 1, next, n_slots));
        }
        return least;
    }
    return 0;
}

TEST_CASE("BeladyEqualsTheBestOfAllChoices") {
    for (uint32_t seed = 1; seed <= 20; ++seed) {
        CAPTURE(seed);
        std::mt19937 random(seed);
        std::vector<int32_t> experts;
        for (int i = 0; i < 12; ++i) {
            experts.push_back(static_cast<int32_t>(random() % 5));
        }
        for (size_t n_slots = 1; n_slots <= 3; ++n_slots) {
            CHECK(belady(one_by_one(experts), of_size(1), n_slots).missed_bytes ==
                  least_misses(experts, 0, {}, n_slots));
        }
    }
}

}  // namespace
}  // namespace edgemoe
