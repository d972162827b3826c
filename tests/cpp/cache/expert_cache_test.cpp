#include "cache/expert_cache.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <random>

namespace edgemoe {
namespace {

constexpr PolicyShape kShape{4, 16};

ExpertCache make_cache(uint64_t budget_bytes, const std::string & policy = "lru") {
    return ExpertCache(budget_bytes, make_eviction_policy(policy, kShape));
}

TEST_CASE("AnEmptyCacheHoldsNothingAndIsWhole") {
    const ExpertCache cache = make_cache(1024);
    CHECK(cache.size() == 0);
    CHECK(cache.used_bytes() == 0);
    CHECK(cache.budget_bytes() == 1024);
    CHECK_FALSE(cache.contains({0, 0}));
    CHECK(cache.check_invariants() == "");
}

TEST_CASE("SlotsAreRoundedUpAlignedAndApart") {
    ExpertCache cache = make_cache(1024);
    std::vector<ExpertId> evicted;
    REQUIRE(cache.insert({0, 1}, 100, {0, 0}, &evicted));
    REQUIRE(cache.insert({0, 2}, 64, {0, 0}, &evicted));
    CHECK(evicted.empty());
    CHECK(cache.used_bytes() == 128 + 64);
    CHECK(cache.offset({0, 1}) % ExpertCache::kGranularity == 0);
    CHECK(cache.offset({0, 2}) == cache.offset({0, 1}) + 128);
    CHECK(cache.check_invariants() == "");
}

TEST_CASE("PinnedExpertSurvivesFullCache") {
    for (const std::string & policy : eviction_policy_names()) {
        CAPTURE(policy);
        ExpertCache cache = make_cache(256, policy);
        std::vector<ExpertId> evicted;
        REQUIRE(cache.insert({0, 0}, 128, {0, 0}, &evicted));
        cache.pin({0, 0});
        REQUIRE(cache.insert({0, 1}, 128, {0, 0}, &evicted));
        for (int32_t expert = 2; expert < 10; ++expert) {
            REQUIRE(cache.insert({0, expert}, 128, {1, 0}, &evicted));
            CHECK(cache.contains({0, 0}));
        }
        CHECK(evicted.size() == 8);
        CHECK(cache.check_invariants() == "");
    }
}

TEST_CASE("PinsAreCounted") {
    ExpertCache cache = make_cache(128);
    std::vector<ExpertId> evicted;
    REQUIRE(cache.insert({0, 0}, 128, {0, 0}, &evicted));
    cache.pin({0, 0});
    cache.pin({0, 0});
    cache.unpin({0, 0});
    CHECK_FALSE(cache.insert({0, 1}, 128, {0, 0}, &evicted));
    cache.unpin({0, 0});
    CHECK(cache.insert({0, 1}, 128, {0, 0}, &evicted));
    CHECK(evicted == std::vector<ExpertId>{{0, 0}});
}

TEST_CASE("InsertFailsWhenPinnedSlotsLeaveNoRoom") {
    ExpertCache cache = make_cache(192);
    std::vector<ExpertId> evicted;
    REQUIRE(cache.insert({0, 0}, 128, {0, 0}, &evicted));
    cache.pin({0, 0});
    REQUIRE(cache.insert({0, 1}, 64, {0, 0}, &evicted));
    CHECK_FALSE(cache.insert({0, 2}, 128, {0, 0}, &evicted));
    CHECK(evicted == std::vector<ExpertId>{{0, 1}});
    CHECK(cache.contains({0, 0}));
    CHECK_FALSE(cache.contains({0, 2}));
    CHECK(cache.check_invariants() == "");
}

TEST_CASE("AnExpertLargerThanTheBudgetEvictsNobody") {
    ExpertCache cache = make_cache(128);
    std::vector<ExpertId> evicted;
    REQUIRE(cache.insert({0, 0}, 128, {0, 0}, &evicted));
    CHECK_FALSE(cache.insert({0, 1}, 129, {0, 0}, &evicted));
    CHECK_FALSE(cache.insert({0, 1}, UINT64_MAX, {0, 0}, &evicted));
    CHECK(evicted.empty());
    CHECK(cache.contains({0, 0}));
}

TEST_CASE("ABudgetThatIsNotAMultipleOfTheGranularityIsNeverExceeded") {
    ExpertCache cache = make_cache(130);
    std::vector<ExpertId> evicted;
    CHECK_FALSE(cache.insert({0, 0}, 129, {0, 0}, &evicted));  // 192 when rounded up
    REQUIRE(cache.insert({0, 0}, 128, {0, 0}, &evicted));
    CHECK(cache.used_bytes() == 128);
    CHECK(cache.check_invariants() == "");
}

TEST_CASE("ABudgetOfZeroHoldsNothing") {
    ExpertCache cache = make_cache(0);
    std::vector<ExpertId> evicted;
    CHECK_FALSE(cache.insert({0, 0}, 1, {0, 0}, &evicted));
    CHECK(cache.check_invariants() == "");
}

TEST_CASE("FreedNeighboursAreMergedForALargerExpert") {
    ExpertCache cache = make_cache(256);
    std::vector<ExpertId> evicted;
    for (int32_t expert = 0; expert < 4; ++expert) {
        REQUIRE(cache.insert({0, expert}, 64, {0, 0}, &evicted));
    }
    cache.remove({0, 0});
    cache.remove({0, 2});
    cache.remove({0, 1});
    REQUIRE(cache.insert({0, 5}, 192, {0, 0}, &evicted));
    CHECK(evicted.empty());
    CHECK(cache.offset({0, 5}) == 0);
    CHECK(cache.check_invariants() == "");
}

TEST_CASE("TheSmallestRangeThatFitsIsTaken") {
    ExpertCache cache = make_cache(640);
    std::vector<ExpertId> evicted;
    REQUIRE(cache.insert({0, 0}, 256, {0, 0}, &evicted));
    REQUIRE(cache.insert({0, 1}, 64, {0, 0}, &evicted));
    REQUIRE(cache.insert({0, 2}, 128, {0, 0}, &evicted));
    REQUIRE(cache.insert({0, 3}, 192, {0, 0}, &evicted));
    cache.remove({0, 0});
    cache.remove({0, 2});
    REQUIRE(cache.insert({0, 4}, 128, {0, 0}, &evicted));
    CHECK(cache.offset({0, 4}) == 320);
}

// Any sequence of calls that the contract allows, against a model that is a plain list.
TEST_CASE("RandomOperationsKeepTheInvariants") {
    for (const std::string & policy : eviction_policy_names()) {
        for (uint32_t seed = 1; seed <= 3; ++seed) {
            CAPTURE(policy);
            CAPTURE(seed);
            std::mt19937 random(seed);
            const auto below = [&random](int32_t n) {
                return static_cast<int32_t>(random() % static_cast<uint32_t>(n));
            };
            constexpr uint64_t kBudget = 4096 + 8;
            ExpertCache cache = make_cache(kBudget, policy);
            std::vector<ExpertId> resident;
            std::vector<ExpertId> pinned;
            std::vector<ExpertId> evicted;
            for (int32_t step = 0; step < 1500; ++step) {
                const ExpertId id{below(kShape.n_layers), below(kShape.n_experts)};
                const PolicyTime now{step / 20, below(kShape.n_layers)};
                const bool is_resident = std::count(resident.begin(), resident.end(), id) != 0;
                const bool is_pinned = std::count(pinned.begin(), pinned.end(), id) != 0;
                REQUIRE(cache.contains(id) == is_resident);
                switch (below(6)) {
                    case 0:
                        cache.record_use(id, now);
                        break;
                    case 1:
                        if (is_resident && pinned.size() < 12) {
                            cache.pin(id);
                            pinned.push_back(id);
                        }
                        break;
                    case 2:
                        if (!pinned.empty()) {
                            cache.unpin(pinned.back());
                            pinned.pop_back();
                        }
                        break;
                    case 3:
                        if (is_resident && !is_pinned) {
                            cache.remove(id);
                            resident.erase(std::find(resident.begin(), resident.end(), id));
                        }
                        break;
                    default:
                        if (!is_resident) {
                            evicted.clear();
                            const bool inserted =
                                cache.insert(id, static_cast<uint64_t>(1 + below(700)), now, &evicted);
                            for (const ExpertId & victim : evicted) {
                                REQUIRE(std::count(pinned.begin(), pinned.end(), victim) == 0);
                                const auto found = std::find(resident.begin(), resident.end(), victim);
                                REQUIRE(found != resident.end());
                                resident.erase(found);
                            }
                            if (inserted) {
                                resident.push_back(id);
                            }
                        }
                }
                REQUIRE(cache.used_bytes() <= kBudget);
                REQUIRE(cache.size() == resident.size());
                REQUIRE(cache.check_invariants() == "");
            }
        }
    }
}

}  // namespace
}  // namespace edgemoe
