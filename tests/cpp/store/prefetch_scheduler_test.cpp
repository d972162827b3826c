#include "store/prefetch_scheduler.h"

#include "store_testing.h"

#include <doctest/doctest.h>

#include <limits>
#include <vector>

namespace edgemoe::test {
namespace {

constexpr Shape kShape = {4, 32, 64, 64, 100, 8};
constexpr size_t kStaging = 16;

struct Rig {
    explicit Rig(Prefetch mode)
        : file(kShape),
          table(file.index()),
          cache(32 * kShape.expert_bytes(), {kShape.n_layers, kShape.n_experts},
                make_eviction_policy("lru", {kShape.n_layers, kShape.n_experts}).value()),
          scheduler(mode, file.index(), table, cache, kStaging) {}

    // Asks for, and reads, as many experts as it names; those of `layer` from `first` on are forecast.
    int read_all(int32_t layer, int32_t first, int32_t n) {
        std::vector<ExpertForecast> experts;
        for (int32_t i = 0; i < n; ++i) {
            experts.push_back({{layer, first + i}, 0.9F, 1});
        }
        scheduler.forecast(experts);
        int n_read = 0;
        for (int32_t entry = scheduler.next_to_read(); entry >= 0; entry = scheduler.next_to_read()) {
            scheduler.will_read(kShape.expert_bytes());
            scheduler.arrived(entry, kShape.expert_bytes());
            for (size_t p = 0; p < kProjectionCount; ++p) {
                table[entry].states[p].store(PartState::kReady);
            }
            n_read++;
        }
        return n_read;
    }
    // The layer chooses `n` experts from `first` on; what was read is gone afterwards.
    void come(int32_t layer, int32_t first, int32_t n) {
        std::vector<int32_t> entries;
        for (int32_t i = 0; i < n; ++i) {
            entries.push_back(table.find({layer, first + i}));
        }
        scheduler.layer_came(layer, entries);
        for (ExpertEntry & entry : table.entries()) {
            for (auto & state : entry.states) {
                state.store(PartState::kAbsent);
            }
        }
    }

    ExpertFile file;
    ExpertTable table;
    ExpertCache cache;
    PrefetchScheduler scheduler;
};

}  // namespace

TEST_CASE("TheFirstAllowanceIsAFewExperts") {
    Rig rig(Prefetch::kAuto);
    CHECK(rig.read_all(1, 0, 8) == static_cast<int>(prefetch::kFirstExperts));
}

TEST_CASE("TheAllowanceGrowsWhileReadsAreUsedUpToATokensExperts") {
    Rig rig(Prefetch::kAuto);
    int n_read = 0;
    for (int i = 0; i < 12; ++i) {
        n_read = rig.read_all(1, 0, 32);
        rig.come(1, 0, 32);  // all are right
    }
    CHECK(n_read == kShape.n_layers * kShape.n_experts_used);
    CHECK(rig.scheduler.stats().useful_bytes > 0);
}

TEST_CASE("TheAllowanceEndsWhenNothingIsUsedAndDemandReadsPayForTheNextTrial") {
    Rig rig(Prefetch::kAuto);
    CHECK(rig.read_all(1, 0, 8) == 4);
    rig.come(1, 20, 8);
    CHECK(rig.read_all(2, 0, 8) == 0);  // of which nothing bad is known
    CHECK(rig.scheduler.stats().wasted_bytes == 4 * kShape.expert_bytes());
    for (int i = 0; i < 99; ++i) {
        rig.scheduler.demand_arrived(kShape.expert_bytes());
    }
    CHECK(rig.read_all(2, 0, 8) == 0);
    for (int i = 0; i < 2; ++i) {
        rig.scheduler.demand_arrived(kShape.expert_bytes());
    }
    CHECK(rig.read_all(2, 0, 8) == 1);
}

TEST_CASE("ForecastsThatDoNotComeTrueAreNotRead") {
    Rig rig(Prefetch::kAlways);
    for (int i = 0; i < 8; ++i) {
        rig.read_all(1, 0, 4);
        rig.come(1, i % 2 == 0 ? 0 : 16, 8);  // every other time: not worth a read, but protection
    }
    CHECK(rig.read_all(1, 0, 4) == 0);
    CHECK(rig.scheduler.is_forecast(rig.table.find({1, 0})));
    CHECK(rig.read_all(2, 0, 4) == 4);
}

TEST_CASE("AlwaysReadsWithoutAnAllowance") {
    Rig rig(Prefetch::kAlways);
    CHECK(rig.read_all(1, 0, 32) == 32);
}

TEST_CASE("WhatIsTakenBackCostsNothing") {
    Rig rig(Prefetch::kAuto);
    rig.scheduler.forecast({{{1, 0}, 0.9F, 1}});
    for (int i = 0; i < 20; ++i) {
        REQUIRE(rig.scheduler.next_to_read() >= 0);
        rig.scheduler.will_read(4 * kShape.expert_bytes());
        CHECK(rig.scheduler.next_to_read() < 0);
        rig.scheduler.withdrawn(2 * kShape.expert_bytes());
        rig.scheduler.cancelled(2 * kShape.expert_bytes());
    }
    CHECK(rig.scheduler.stats().cancelled_bytes == 40 * kShape.expert_bytes());
}

TEST_CASE("AnExpertThatWasRefusedIsNotTriedAgainForTheSameForecast") {
    Rig rig(Prefetch::kAuto);
    const int32_t entry = rig.table.find({1, 3});
    rig.scheduler.forecast({{{1, 3}, 0.9F, 1}});
    CHECK(rig.scheduler.next_to_read() == entry);
    rig.scheduler.refuse(entry);
    CHECK(rig.scheduler.next_to_read() == -1);
    rig.scheduler.forecast({{{1, 3}, 0.9F, 1}});
    CHECK(rig.scheduler.next_to_read() == entry);
}

TEST_CASE("ALaterForecastOfALayerReplacesTheEarlierOne") {
    Rig rig(Prefetch::kAuto);
    rig.scheduler.forecast({{{2, 3}, 0.9F, 2}, {{3, 4}, 0.9F, 3}});
    rig.scheduler.forecast({{{2, 5}, 0.9F, 1}});
    CHECK_FALSE(rig.scheduler.is_forecast(rig.table.find({2, 3})));
    CHECK(rig.scheduler.is_forecast(rig.table.find({2, 5})));
    CHECK(rig.scheduler.is_forecast(rig.table.find({3, 4})));
    rig.come(2, 0, 8);
    CHECK_FALSE(rig.scheduler.is_forecast(rig.table.find({2, 5})));
    CHECK(rig.scheduler.is_forecast(rig.table.find({3, 4})));
}

TEST_CASE("InAPromptOnlyTheTokenBehindItIsReadAhead") {
    Rig rig(Prefetch::kAuto);
    rig.come(0, 0, 20);
    rig.come(1, 0, 20);
    rig.scheduler.forecast({{{2, 3}, 0.9F, 1}});
    CHECK(rig.scheduler.next_to_read() == -1);
    rig.scheduler.forecast({{{0, 3}, 0.9F, 1}});
    CHECK(rig.scheduler.next_to_read() == rig.table.find({0, 3}));
}

TEST_CASE("OnlyTheNextLayerIsReadAhead") {
    Rig rig(Prefetch::kAuto);
    rig.scheduler.forecast({{{1, 3}, 0.9F, 1}, {{2, 4}, 0.95F, 2}});
    CHECK(rig.scheduler.next_to_read() == rig.table.find({1, 3}));
    rig.come(1, 3, 1);
    CHECK(rig.scheduler.next_to_read() == rig.table.find({2, 4}));
}

TEST_CASE("ReadsAheadLeaveBuffersForDemandReads") {
    CHECK(Rig(Prefetch::kAuto).scheduler.most_reads() == kStaging / prefetch::kBufferShare);
}

TEST_CASE("ForecastsProtectOnceTheyHaveBeenRight") {
    for (const bool is_right : {true, false}) {
        CAPTURE(is_right);
        Rig rig(Prefetch::kAuto);
        std::vector<ExpertId> evicted;
        REQUIRE(rig.cache.insert({1, 0}, rig.table[rig.table.find({1, 0})].matrix_bytes, {0, 0}, &evicted));
        for (int32_t i = 1; i < 32; ++i) {
            REQUIRE(rig.cache.insert({0, i}, rig.table[rig.table.find({0, i})].matrix_bytes, {0, 0}, &evicted));
        }
        for (int i = 0; i < 4; ++i) {
            rig.scheduler.forecast({{{1, 0}, 0.9F, 1}, {{1, 1}, 0.9F, 1}, {{1, 2}, 0.9F, 1}, {{1, 3}, 0.9F, 1}});
            rig.come(1, is_right ? 0 : 16, 8);
        }
        rig.scheduler.forecast({{{1, 0}, 0.9F, 1}});
        REQUIRE(rig.cache.insert({2, 0}, rig.table[rig.table.find({2, 0})].matrix_bytes, {1, 0}, &evicted));
        CHECK(rig.cache.contains({1, 0}) == is_right);  // LRU's first victim otherwise
    }
}

TEST_CASE("NonsenseIsNoForecast") {
    Rig rig(Prefetch::kAuto);
    const float nan = std::numeric_limits<float>::quiet_NaN();
    rig.scheduler.forecast({{{9, 0}, 0.9F, 1},
                            {{0, 99}, 0.9F, 1},
                            {{-1, 0}, 0.9F, 1},
                            {{1, 0}, nan, 1},
                            {{1, 1}, 0.9F, 0},
                            {{1, 2}, -1.0F, 1}});
    CHECK(rig.scheduler.next_to_read() == -1);
    rig.scheduler.forecast({{{1, 0}, 100.0F, 1}});
    CHECK(rig.scheduler.chance(rig.table.find({1, 0})) > 0.9F);
    CHECK(rig.scheduler.chance(rig.table.find({1, 0})) <= 1.0F);
}

}  // namespace edgemoe::test
