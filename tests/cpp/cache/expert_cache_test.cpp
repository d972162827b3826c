#include "cache/expert_cache.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <random>
#include <utility>

namespace edgemoe {
namespace {

constexpr PolicyShape kShape{4, 16};

ExpertCache make_cache(uint64_t budget_bytes, const std::string & policy = "lru") {
    return ExpertCache(budget_bytes, kShape, make_eviction_policy(policy, kShape).value());
}

MatrixBytes one_matrix(uint64_t bytes) {
    return {bytes, 0, 0, 0};
}

uint64_t offset_of(const ExpertCache & cache, ExpertId id) {
    return cache.offset(id, Projection::kGate);
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
    REQUIRE(cache.insert({0, 1}, one_matrix(100), {0, 0}, &evicted));
    REQUIRE(cache.insert({0, 2}, one_matrix(64), {0, 0}, &evicted));
    CHECK(evicted.empty());
    CHECK(cache.used_bytes() == 128 + 64);
    CHECK(offset_of(cache, {0, 1}) % ExpertCache::kGranularity == 0);
    CHECK(offset_of(cache, {0, 2}) == offset_of(cache, {0, 1}) + 128);
    CHECK(cache.check_invariants() == "");
}

TEST_CASE("PinnedExpertSurvivesFullCache") {
    for (const std::string & policy : eviction_policy_names()) {
        CAPTURE(policy);
        ExpertCache cache = make_cache(256, policy);
        std::vector<ExpertId> evicted;
        REQUIRE(cache.insert({0, 0}, one_matrix(128), {0, 0}, &evicted));
        cache.pin({0, 0});
        REQUIRE(cache.insert({0, 1}, one_matrix(128), {0, 0}, &evicted));
        for (int32_t expert = 2; expert < 10; ++expert) {
            REQUIRE(cache.insert({0, expert}, one_matrix(128), {1, 0}, &evicted));
            CHECK(cache.contains({0, 0}));
        }
        CHECK(evicted.size() == 8);
        CHECK(cache.check_invariants() == "");
    }
}

TEST_CASE("PinsAreCounted") {
    ExpertCache cache = make_cache(128);
    std::vector<ExpertId> evicted;
    REQUIRE(cache.insert({0, 0}, one_matrix(128), {0, 0}, &evicted));
    cache.pin({0, 0});
    cache.pin({0, 0});
    cache.unpin({0, 0});
    CHECK_FALSE(cache.insert({0, 1}, one_matrix(128), {0, 0}, &evicted));
    cache.unpin({0, 0});
    CHECK(cache.insert({0, 1}, one_matrix(128), {0, 0}, &evicted));
    CHECK(evicted == std::vector<ExpertId>{{0, 0}});
}

TEST_CASE("InsertFailsWhenPinnedSlotsLeaveNoRoom") {
    ExpertCache cache = make_cache(192);
    std::vector<ExpertId> evicted;
    REQUIRE(cache.insert({0, 0}, one_matrix(128), {0, 0}, &evicted));
    cache.pin({0, 0});
    REQUIRE(cache.insert({0, 1}, one_matrix(64), {0, 0}, &evicted));
    CHECK_FALSE(cache.insert({0, 2}, one_matrix(128), {0, 0}, &evicted));
    CHECK(evicted == std::vector<ExpertId>{{0, 1}});
    CHECK(cache.contains({0, 0}));
    CHECK_FALSE(cache.contains({0, 2}));
    CHECK(cache.check_invariants() == "");
}

TEST_CASE("AnExpertLargerThanTheBudgetEvictsNobody") {
    ExpertCache cache = make_cache(128);
    std::vector<ExpertId> evicted;
    REQUIRE(cache.insert({0, 0}, one_matrix(128), {0, 0}, &evicted));
    CHECK_FALSE(cache.insert({0, 1}, one_matrix(129), {0, 0}, &evicted));
    CHECK_FALSE(cache.insert({0, 1}, one_matrix(UINT64_MAX), {0, 0}, &evicted));
    CHECK(evicted.empty());
    CHECK(cache.contains({0, 0}));
}

TEST_CASE("ABudgetThatIsNotAMultipleOfTheGranularityIsNeverExceeded") {
    ExpertCache cache = make_cache(130);
    std::vector<ExpertId> evicted;
    CHECK_FALSE(cache.insert({0, 0}, one_matrix(129), {0, 0}, &evicted));  // 192 when rounded up
    REQUIRE(cache.insert({0, 0}, one_matrix(128), {0, 0}, &evicted));
    CHECK(cache.used_bytes() == 128);
    CHECK(cache.check_invariants() == "");
}

TEST_CASE("ABudgetOfZeroHoldsNothing") {
    ExpertCache cache = make_cache(0);
    std::vector<ExpertId> evicted;
    CHECK_FALSE(cache.insert({0, 0}, one_matrix(1), {0, 0}, &evicted));
    CHECK(cache.check_invariants() == "");
}

TEST_CASE("FreedNeighboursAreMergedForALargerExpert") {
    ExpertCache cache = make_cache(256);
    std::vector<ExpertId> evicted;
    for (int32_t expert = 0; expert < 4; ++expert) {
        REQUIRE(cache.insert({0, expert}, one_matrix(64), {0, 0}, &evicted));
    }
    cache.remove({0, 0});
    cache.remove({0, 2});
    cache.remove({0, 1});
    REQUIRE(cache.insert({0, 5}, one_matrix(192), {0, 0}, &evicted));
    CHECK(evicted.empty());
    CHECK(offset_of(cache, {0, 5}) == 0);
    CHECK(cache.check_invariants() == "");
}

TEST_CASE("TheSmallestRangeThatFitsIsTaken") {
    ExpertCache cache = make_cache(640);
    std::vector<ExpertId> evicted;
    REQUIRE(cache.insert({0, 0}, one_matrix(256), {0, 0}, &evicted));
    REQUIRE(cache.insert({0, 1}, one_matrix(64), {0, 0}, &evicted));
    REQUIRE(cache.insert({0, 2}, one_matrix(128), {0, 0}, &evicted));
    REQUIRE(cache.insert({0, 3}, one_matrix(192), {0, 0}, &evicted));
    cache.remove({0, 0});
    cache.remove({0, 2});
    REQUIRE(cache.insert({0, 4}, one_matrix(128), {0, 0}, &evicted));
    CHECK(offset_of(cache, {0, 4}) == 320);
}

TEST_CASE("EachMatrixHasARangeOfItsOwnAndTheyAreApart") {
    ExpertCache cache = make_cache(64 * 10);
    std::vector<ExpertId> evicted;
    REQUIRE(cache.insert({0, 0}, {100, 0, 60, 64}, {0, 0}, &evicted));
    CHECK(cache.used_bytes() == 128 + 64 + 64);
    CHECK(ExpertCache::slot_bytes({100, 0, 60, 64}) == cache.used_bytes());
    CHECK(cache.offset({0, 0}, Projection::kGate) == 0);
    CHECK(cache.offset({0, 0}, Projection::kGateUp) == 128);
    CHECK(cache.offset({0, 0}, Projection::kDown) == 192);
    CHECK(cache.check_invariants() == "");
}

TEST_CASE("AnExpertsMatricesAreSpreadOverHolesThatHoldNoWholeExpert") {
    ExpertCache cache = make_cache(64 * 9);
    std::vector<ExpertId> evicted;
    for (int32_t expert = 0; expert < 9; ++expert) {
        REQUIRE(cache.insert({0, expert}, one_matrix(64), {0, 0}, &evicted));
    }
    for (const int32_t expert : {1, 4, 7}) {
        cache.remove({0, expert});
    }
    REQUIRE(cache.insert({1, 0}, {64, 64, 0, 64}, {0, 0}, &evicted));
    CHECK(evicted.empty());
    CHECK(cache.offset({1, 0}, Projection::kGate) == 64);
    CHECK(cache.offset({1, 0}, Projection::kUp) == 4 * 64);
    CHECK(cache.offset({1, 0}, Projection::kDown) == 7 * 64);
    CHECK(cache.check_invariants() == "");
}

TEST_CASE("AnExpertThatDoesNotFitInPartLeavesNoPartBehind") {
    ExpertCache cache = make_cache(64 * 3);
    std::vector<ExpertId> evicted;
    REQUIRE(cache.insert({0, 0}, one_matrix(64), {0, 0}, &evicted));
    REQUIRE(cache.insert({0, 1}, one_matrix(64), {0, 0}, &evicted));
    cache.pin({0, 0});
    cache.pin({0, 1});
    CHECK_FALSE(cache.insert({0, 2}, {64, 64, 0, 0}, {0, 0}, &evicted));
    CHECK(cache.check_invariants() == "");
    CHECK(cache.insert({0, 3}, one_matrix(64), {0, 0}, &evicted));
}

TEST_CASE("CountedSlotsHaveNoPlaceAndNoHoles") {
    ExpertCache cache(64 * 4, kShape, make_eviction_policy("lru", kShape).value(), ExpertCache::Placement::kCounted);
    std::vector<ExpertId> evicted;
    for (int32_t expert = 0; expert < 4; ++expert) {
        REQUIRE(cache.insert({0, expert}, one_matrix(64), {0, 0}, &evicted));
    }
    cache.remove({0, 0});
    cache.remove({0, 2});
    REQUIRE(cache.insert({1, 0}, one_matrix(128), {0, 0}, &evicted));  // an arena would have no such range
    CHECK(evicted.empty());
    CHECK(cache.check_invariants() == "");
}

// The cache in use: what it holds, on average over time, when experts of `sizes` come and go at random.
double used_share(const std::vector<MatrixBytes> & sizes, uint64_t budget_bytes, uint32_t seed) {
    std::mt19937 random(seed);
    ExpertCache cache = make_cache(budget_bytes, "default");
    std::vector<ExpertId> evicted;
    double used = 0;
    constexpr int kSteps = 6000;
    constexpr int kWarmUp = 1000;
    for (int step = 0; step < kSteps; ++step) {
        const ExpertId id{static_cast<int32_t>(random() % 4), static_cast<int32_t>(random() % 16)};
        const PolicyTime now{step / 8, id.layer};
        cache.record_use(id, now);
        if (!cache.contains(id)) {
            REQUIRE(
                cache.insert(id, sizes[static_cast<size_t>(id.layer * 16 + id.expert) % sizes.size()], now, &evicted));
        }
        used += step < kWarmUp ? 0.0 : static_cast<double>(cache.used_bytes()) / static_cast<double>(budget_bytes);
    }
    REQUIRE(cache.check_invariants() == "");
    return used / (kSteps - kWarmUp);
}

TEST_CASE("ExpertsOfOneSizeLeaveNoRoomUnusedWhateverTheirMatricesAre") {
    const MatrixBytes expert = {64 * 216, 64 * 216, 0, 64 * 315};
    for (uint32_t seed = 1; seed <= 3; ++seed) {
        CAPTURE(seed);
        // The first lap fills the cache; from then on it is full.
        CHECK(used_share({expert}, 24 * ExpertCache::slot_bytes(expert), seed) == doctest::Approx(1.0));
    }
}

TEST_CASE("MatricesOfMixedSizesLeaveLessUnusedThanExpertsInOnePiece") {
    // As Q4_K_M mixes them: down is larger in every second layer.
    const MatrixBytes small = {64 * 216, 64 * 216, 0, 64 * 216};
    const MatrixBytes large = {64 * 216, 64 * 216, 0, 64 * 315};
    // Every matrix in one of nine types, from 2.3 to 6.6 bits.
    std::mt19937 random(7);
    constexpr std::array kBits = {231, 256, 263, 306, 344, 425, 450, 550, 656};
    std::vector<MatrixBytes> any;
    for (int i = 0; i < 64; ++i) {
        const auto bytes = [&] { return static_cast<uint64_t>(kBits[random() % kBits.size()]) * 64 / 2; };
        any.push_back({bytes(), bytes(), 0, bytes()});
    }
    const auto unused_share = [](const std::vector<MatrixBytes> & sizes) {
        constexpr uint32_t kSeeds = 4;
        double unused = 0;
        for (uint32_t seed = 1; seed <= kSeeds; ++seed) {
            unused += (1.0 - used_share(sizes, 64 * 648 * 40, seed)) / kSeeds;
        }
        return unused;
    };
    for (const auto & [what, sizes] :
         {std::pair{std::string("two sizes"), std::vector<MatrixBytes>{small, large}}, {"nine types", any}}) {
        std::vector<MatrixBytes> whole;
        for (const MatrixBytes & matrices : sizes) {
            whole.push_back(one_matrix(ExpertCache::slot_bytes(matrices)));
        }
        const double unused = unused_share(sizes);
        const double unused_by_whole = unused_share(whole);
        MESSAGE(what << ": " << 100 * unused << "% unused; with experts in one piece " << 100 * unused_by_whole << "%");
        CHECK(unused < unused_by_whole);
        CHECK(unused < 0.10);  // of some 40 experts; of more it is less
    }
}

// ---- experts that pass through ----

constexpr StreamLimits kNoShare = {0, 64 * 2};

TEST_CASE("AnExpertThatPassesThroughIsTheFirstToLeave") {
    ExpertCache cache = make_cache(64 * 3);
    std::vector<ExpertId> evicted;
    REQUIRE(cache.insert({0, 0}, one_matrix(64), {0, 0}, &evicted));
    REQUIRE(cache.insert({0, 1}, one_matrix(64), {0, 0}, &evicted));
    REQUIRE(cache.insert_streamed({0, 2}, one_matrix(64), {1, 0}, kNoShare, &evicted));
    CHECK(cache.streamed_bytes() == 64);
    REQUIRE(cache.insert_streamed({0, 3}, one_matrix(64), {1, 0}, kNoShare, &evicted));
    CHECK(evicted == std::vector<ExpertId>{{0, 2}});
    REQUIRE(cache.insert({0, 4}, one_matrix(64), {2, 0}, &evicted));
    CHECK(evicted == std::vector<ExpertId>{{0, 2}, {0, 3}});
    CHECK(cache.streamed_bytes() == 0);
    CHECK(cache.check_invariants() == "");
}

TEST_CASE("ThoseThatPassThroughTakeNoMoreThanTheirWindowFromOthers") {
    ExpertCache cache = make_cache(64 * 6);
    std::vector<ExpertId> evicted;
    for (int32_t expert = 0; expert < 6; ++expert) {
        REQUIRE(cache.insert({0, expert}, one_matrix(64), {0, 0}, &evicted));
    }
    for (int32_t expert = 6; expert < 8; ++expert) {
        REQUIRE(cache.insert_streamed({0, expert}, one_matrix(64), {1, 0}, kNoShare, &evicted));
        cache.pin({0, expert});
    }
    CHECK(evicted == std::vector<ExpertId>{{0, 0}, {0, 1}});
    CHECK_FALSE(cache.insert_streamed({0, 8}, one_matrix(64), {1, 0}, kNoShare, &evicted));
    CHECK(evicted.size() == 2);
    cache.unpin({0, 7});
    CHECK(cache.insert_streamed({0, 8}, one_matrix(64), {1, 0}, kNoShare, &evicted));
    CHECK(evicted.back() == ExpertId{0, 7});
    CHECK(cache.check_invariants() == "");
}

TEST_CASE("AnExpertThatPassesThroughSettlesWhereItsLayerHasRoomLeft") {
    ExpertCache cache = make_cache(64 * 4);
    std::vector<ExpertId> evicted;
    const StreamLimits limits = {64 * 2, 64 * 2};
    std::vector<ExpertCache::Absent> absent = {{{0, 0}, 64}, {{0, 1}, 64}, {{0, 2}, 64}, {{0, 3}, 64}};
    cache.choose_settling(&absent, limits);
    for (int32_t expert = 0; expert < 4; ++expert) {
        REQUIRE(cache.insert_streamed({0, expert}, one_matrix(64), {0, 0}, limits, &evicted));
    }
    CHECK(cache.streamed_bytes() == 64 * 2);
    CHECK(evicted.empty());
    // The next layer's share is taken from what layer 0 has above its own.
    absent = {{{1, 0}, 64}, {{1, 1}, 64}};
    cache.choose_settling(&absent, limits);
    for (int32_t expert = 0; expert < 2; ++expert) {
        REQUIRE(cache.insert_streamed({1, expert}, one_matrix(64), {0, 1}, limits, &evicted));
    }
    CHECK(evicted == std::vector<ExpertId>{{0, 3}, {0, 2}});
    CHECK(cache.streamed_bytes() == 0);
    cache.keep({1, 1});
    CHECK(cache.check_invariants() == "");
}

TEST_CASE("OfAPromptExpertsSettleInTheRoomOfThoseThatWereReadInVain") {
    ExpertCache cache = make_cache(64 * 4, "two-timescale");
    std::vector<ExpertId> evicted;
    const StreamLimits limits = {64 * 2, 64 * 2};
    for (const ExpertId id : {ExpertId{0, 0}, ExpertId{0, 1}, ExpertId{1, 0}, ExpertId{1, 1}}) {
        REQUIRE(cache.insert_free(id, one_matrix(64), {0, 0}));
    }
    // Layer 0 uses one of its two, and two others.
    for (const int32_t expert : {1, 2, 3}) {
        cache.record_use({0, expert}, {1, 0});
    }
    std::vector<ExpertCache::Absent> absent = {{{0, 2}, 64}, {{0, 3}, 64}};
    cache.choose_settling(&absent, limits);
    cache.pin({0, 1});
    REQUIRE(cache.insert_streamed({0, 2}, one_matrix(64), {1, 0}, limits, &evicted));
    REQUIRE(cache.insert_streamed({0, 3}, one_matrix(64), {1, 0}, limits, &evicted));
    CHECK(cache.contains({0, 1}));
    // Its share holds one beside the one that was there; the other has to pass through.
    CHECK(evicted.front() == ExpertId{0, 0});
    CHECK(cache.streamed_bytes() == 64);
    CHECK(cache.check_invariants() == "");
}

TEST_CASE("APromptLeavesWhatWasReadForLayersThatAreToCome") {
    ExpertCache cache = make_cache(64 * 4, "two-timescale");
    std::vector<ExpertId> evicted;
    const StreamLimits limits = {64 * 2, 0};
    for (const ExpertId id : {ExpertId{1, 0}, ExpertId{1, 1}, ExpertId{1, 2}, ExpertId{1, 3}}) {
        REQUIRE(cache.insert_free(id, one_matrix(64), {0, 0}));
    }
    cache.pin({1, 3});
    cache.record_use({0, 0}, {1, 0});
    cache.record_use({2, 0}, {1, 2});
    std::vector<ExpertCache::Absent> absent = {{{0, 0}, 64}};
    cache.choose_settling(&absent, limits);
    CHECK_FALSE(cache.insert_streamed({0, 0}, one_matrix(64), {1, 0}, limits, &evicted));
    CHECK(evicted.empty());
    absent = {{{2, 0}, 64}};  // layer 1 has had its turn
    cache.choose_settling(&absent, limits);
    CHECK(cache.insert_streamed({2, 0}, one_matrix(64), {1, 2}, limits, &evicted));
    CHECK(evicted == std::vector<ExpertId>{{1, 0}});
    CHECK(cache.streamed_bytes() == 0);
    CHECK(cache.check_invariants() == "");
}

TEST_CASE("OfAPromptThoseSettleThatAreWorthMost") {
    ExpertCache cache = make_cache(64 * 4, "lfu");
    std::vector<ExpertId> evicted;
    const StreamLimits limits = {64 * 1, 64 * 2};
    cache.record_use({0, 0}, {0, 0});
    cache.record_use({0, 1}, {0, 0});
    cache.record_use({0, 1}, {1, 0});
    std::vector<ExpertCache::Absent> absent = {{{0, 0}, 64}, {{0, 1}, 64}};
    cache.choose_settling(&absent, limits);
    REQUIRE(cache.insert_streamed({0, 0}, one_matrix(64), {1, 0}, limits, &evicted));
    CHECK(cache.streamed_bytes() == 64);
    REQUIRE(cache.insert_streamed({0, 1}, one_matrix(64), {1, 0}, limits, &evicted));
    CHECK(cache.streamed_bytes() == 64);
    CHECK(cache.check_invariants() == "");
}

TEST_CASE("AnExpertThatWasUsedBeforeTakesThePlaceOfOneThatWasNotUsedSince") {
    ExpertCache cache = make_cache(64 * 2);
    std::vector<ExpertId> evicted;
    for (const int32_t expert : {0, 1}) {
        cache.record_use({0, expert}, {0, 0});
        REQUIRE(cache.insert({0, expert}, one_matrix(64), {0, 0}, &evicted));
    }
    cache.record_use({0, 1}, {1, 0});
    cache.record_use({0, 2}, {1, 0});
    cache.record_use({0, 2}, {2, 0});
    REQUIRE(cache.insert_streamed({0, 2}, one_matrix(64), {2, 0}, kNoShare, &evicted));
    CHECK(evicted == std::vector<ExpertId>{{0, 0}});
    CHECK(cache.streamed_bytes() == 0);
    // 3 was not used before this pass: it passes through.
    cache.record_use({0, 3}, {3, 0});
    REQUIRE(cache.insert_streamed({0, 3}, one_matrix(64), {3, 0}, kNoShare, &evicted));
    CHECK(cache.streamed_bytes() == 64);
}

TEST_CASE("AnExpertThatIsKeptSettles") {
    ExpertCache cache = make_cache(64 * 2);
    std::vector<ExpertId> evicted;
    REQUIRE(cache.insert_streamed({0, 0}, one_matrix(64), {0, 0}, kNoShare, &evicted));
    REQUIRE(cache.insert({0, 1}, one_matrix(64), {0, 0}, &evicted));
    cache.record_use({0, 0}, {1, 0});
    cache.keep({0, 0});
    REQUIRE(cache.insert({0, 2}, one_matrix(64), {1, 0}, &evicted));
    CHECK(evicted == std::vector<ExpertId>{{0, 1}});
}

TEST_CASE("AProtectedExpertLeavesOnlyWhenNoOtherIsLeft") {
    for (const std::string & policy : eviction_policy_names()) {
        CAPTURE(policy);
        ExpertCache cache = make_cache(64 * 2, policy);
        std::vector<ExpertId> evicted;
        REQUIRE(cache.insert({0, 0}, one_matrix(64), {0, 0}, &evicted));
        REQUIRE(cache.insert({0, 1}, one_matrix(64), {0, 0}, &evicted));
        for (const int32_t expert : {0, 1}) {
            cache.protect({0, expert}, true);
        }
        cache.protect({0, 1}, false);
        REQUIRE(cache.insert({0, 2}, one_matrix(64), {1, 0}, &evicted));
        CHECK(evicted == std::vector<ExpertId>{{0, 1}});
        cache.protect({0, 2}, true);
        REQUIRE(cache.insert({0, 3}, one_matrix(64), {2, 0}, &evicted));
        CHECK(evicted.size() == 2);
        CHECK(cache.check_invariants() == "");
    }
}

TEST_CASE("AProtectedExpertThatPassesThroughLeavesOnlyWhenNoOtherIsLeft") {
    ExpertCache cache = make_cache(64 * 2);
    std::vector<ExpertId> evicted;
    REQUIRE(cache.insert({0, 0}, one_matrix(64), {0, 0}, &evicted));
    REQUIRE(cache.insert_streamed({0, 1}, one_matrix(64), {1, 0}, kNoShare, &evicted));
    cache.protect({0, 1}, true);
    REQUIRE(cache.insert({1, 0}, one_matrix(64), {2, 0}, &evicted));
    CHECK(evicted == std::vector<ExpertId>{{0, 0}});
    cache.pin({1, 0});
    REQUIRE(cache.insert({1, 1}, one_matrix(64), {2, 0}, &evicted));
    CHECK(evicted == std::vector<ExpertId>{{0, 0}, {0, 1}});
    CHECK(cache.check_invariants() == "");
}

TEST_CASE("AForecastExpertTakesRoomOfWhatIsNeitherPinnedNorProtected") {
    ExpertCache cache = make_cache(64 * 2);
    std::vector<ExpertId> evicted;
    REQUIRE(cache.insert_forecast({0, 0}, one_matrix(64), {0, 0}, &evicted));
    REQUIRE(cache.insert({0, 1}, one_matrix(64), {0, 0}, &evicted));
    cache.protect({0, 0}, true);
    cache.pin({0, 1});
    CHECK_FALSE(cache.insert_forecast({0, 2}, one_matrix(64), {0, 0}, &evicted));
    CHECK(evicted.empty());
    CHECK_FALSE(cache.insert_forecast({0, 2}, one_matrix(200), {0, 0}, &evicted));
    cache.unpin({0, 1});
    CHECK(cache.insert_forecast({0, 2}, one_matrix(64), {0, 0}, &evicted));
    CHECK(evicted == std::vector<ExpertId>{{0, 1}});
    CHECK(cache.check_invariants() == "");
}

TEST_CASE("ForAForecastExpertWhatPassesThroughLeavesFirst") {
    ExpertCache cache = make_cache(64 * 3);
    const StreamLimits limits = {0, 64 * 2};
    std::vector<ExpertId> evicted;
    REQUIRE(cache.insert({0, 0}, one_matrix(64), {0, 0}, &evicted));
    REQUIRE(cache.insert_streamed({0, 1}, one_matrix(64), {1, 0}, limits, &evicted));
    REQUIRE(cache.insert_streamed({0, 2}, one_matrix(64), {1, 0}, limits, &evicted));
    cache.protect({0, 2}, true);
    REQUIRE(cache.insert_forecast({1, 0}, one_matrix(64), {2, 0}, &evicted));
    CHECK(evicted == std::vector<ExpertId>{{0, 1}});
    CHECK(cache.check_invariants() == "");
}

TEST_CASE("InsertFreeEvictsNothing") {
    ExpertCache cache = make_cache(64 * 2);
    CHECK(cache.insert_free({0, 0}, one_matrix(64), {0, 0}));
    CHECK(cache.insert_free({0, 1}, one_matrix(64), {0, 0}));
    CHECK_FALSE(cache.insert_free({0, 2}, one_matrix(64), {0, 0}));
    CHECK_FALSE(cache.insert_free({0, 2}, one_matrix(65 * 64), {0, 0}));
    CHECK(cache.size() == 2);
    CHECK(cache.check_invariants() == "");
}

MatrixBytes random_matrices(std::mt19937 * random) {
    MatrixBytes bytes{};
    for (uint64_t & one : bytes) {
        one = (*random)() % 3 == 0 ? 0 : 1 + (*random)() % 250;
    }
    bytes[0] = std::max<uint64_t>(bytes[0], 1);
    return bytes;
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
                switch (below(7)) {
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
                    case 4:
                        if (is_resident) {
                            cache.keep(id);
                        }
                        break;
                    default:
                        if (!is_resident) {
                            evicted.clear();
                            const StreamLimits limits = {static_cast<uint64_t>(below(2000)), 1024};
                            const MatrixBytes matrices = random_matrices(&random);
                            const bool inserted = below(2) == 0
                                                      ? cache.insert(id, matrices, now, &evicted)
                                                      : cache.insert_streamed(id, matrices, now, limits, &evicted);
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
