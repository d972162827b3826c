// What the store does with forecasts, and with experts that a run begins with.
#include "fake_reader.h"
#include "store/expert_store.h"
#include "store_testing.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <random>
#include <thread>

namespace edgemoe::test {
namespace {

constexpr Shape kShape = {3, 8, 64, 64, 100, 2};
constexpr size_t kAll = SIZE_MAX;

// A store whose reader the test rules.
struct Rig {
    explicit Rig(uint64_t n_slots, Prefetch prefetch = Prefetch::kAuto, const Shape & shape = kShape,
                 const std::string & policy = "lru", size_t n_staging = 16)
        : file(shape) {
        auto owned = std::make_unique<FakeReader>();
        reader = owned.get();
        store = file.make_store(n_slots, std::move(owned), n_staging, policy, false, prefetch);
    }

    Status serve(int32_t layer, const std::vector<int32_t> & experts) {
        return test::serve(file, *store, layer, kWhole, experts);
    }
    // Takes what is read ahead, as threads do that have nothing else to do.
    void settle(int32_t layer) {
        reader->allow(kAll);
        const Result<LeasePtr> lease = store->acquire(layer, kWhole, {});
        while (lease.value()->reads_ahead()) {
            lease.value()->progress(false);
        }
        reader->allow(0);
    }
    PrefetchStats stats() const { return store->stats().prefetch; }

    ExpertFile file;
    FakeReader * reader = nullptr;
    std::unique_ptr<ExpertStore> store;
};

std::vector<ExpertForecast> forecasts(int32_t layer, const std::vector<int32_t> & experts, int32_t distance = 1,
                                      float probability = 0.9F) {
    std::vector<ExpertForecast> result;
    for (const int32_t expert : experts) {
        result.push_back({{layer, expert}, probability, distance});
    }
    return result;
}

std::vector<int32_t> choose(std::mt19937 * random, const Shape & shape) {
    std::vector<int32_t> experts;
    while (experts.size() < static_cast<size_t>(shape.n_experts_used)) {
        const auto expert = static_cast<int32_t>((*random)() % static_cast<uint32_t>(shape.n_experts));
        if (std::count(experts.begin(), experts.end(), expert) == 0) {
            experts.push_back(expert);
        }
    }
    return experts;
}

// Tokens by random routing, each layer followed by what `predict` says of the next; reads take as long as they take.
template <typename Predict>
StreamStats run(Prefetch prefetch, uint64_t n_slots, int n_tokens, const Shape & shape, Predict predict,
                const std::string & policy = "default") {
    Rig rig(n_slots, prefetch, shape, policy);
    rig.reader->allow(kAll);
    std::mt19937 random(7);
    std::vector<std::vector<int32_t>> routing;
    for (int i = 0; i < n_tokens * shape.n_layers + 1; ++i) {
        routing.push_back(choose(&random, shape));
    }
    for (int i = 0; i < n_tokens * shape.n_layers; ++i) {
        const auto at = static_cast<size_t>(i);
        const int32_t next = (i + 1) % shape.n_layers;
        Result<LeasePtr> lease = rig.store->acquire(i % shape.n_layers, kWhole, routing[at]);
        REQUIRE(lease.is_ok());
        rig.store->forecast(forecasts(next, predict(routing[at + 1])));
        double n_absent = 0;
        for (size_t e = 0; e < routing[at].size(); ++e) {
            n_absent += is_there(*lease.value(), e, kWhole) ? 0 : 1;
        }
        rig.store->add_layer_time(1 + n_absent, n_absent);  // a layer takes as long as it waits
        for (size_t e = 0; e < routing[at].size(); ++e) {
            while (!is_there(*lease.value(), e, kWhole)) {
                REQUIRE(lease.value()->progress(true));
            }
            lease.value()->release(e);
        }
        while (lease.value()->reads_ahead() && lease.value()->progress(false)) {
        }
    }
    return rig.store->stats();
}

std::vector<int32_t> perfect(const std::vector<int32_t> & next) {
    return next;
}

std::vector<int32_t> wrong(const std::vector<int32_t> & next) {
    std::vector<int32_t> others;
    for (int32_t expert = 0; others.size() < next.size(); ++expert) {
        if (std::count(next.begin(), next.end(), expert) == 0) {
            others.push_back(expert);
        }
    }
    return others;
}

}  // namespace

TEST_CASE("SwitchedOffForecastsAreIgnored") {
    Rig rig(8, Prefetch::kOff);
    REQUIRE(rig.serve(0, {0, 1}).is_ok());
    const uint64_t n_submitted = rig.reader->n_submitted();
    rig.store->forecast(forecasts(1, {3, 4}));
    CHECK(rig.reader->n_submitted() == n_submitted);
    CHECK(rig.stats().forecasts == 0);
    CHECK(rig.store->recall().empty());
}

TEST_CASE("AForecastExpertIsReadBeforeItIsAskedFor") {
    Rig rig(8);
    REQUIRE(rig.serve(0, {0, 1}).is_ok());
    rig.store->forecast(forecasts(1, {3}));
    CHECK(rig.reader->n_ahead() == 3);  // its matrices
    rig.settle(0);
    const uint64_t n_submitted = rig.reader->n_submitted();
    const uint64_t n_hits = rig.store->stats().hits;
    REQUIRE(rig.serve(1, {3, 4}).is_ok());
    CHECK(rig.store->stats().hits == n_hits + 1);
    CHECK(rig.reader->n_submitted() == n_submitted + 3);  // expert 4
    CHECK(rig.stats().read_ahead_bytes == rig.file.shape().expert_bytes());
    CHECK(rig.stats().useful_bytes == rig.file.shape().expert_bytes());
    CHECK(rig.stats().wasted_bytes == 0);
}

TEST_CASE("WhatItsLayerDoesNotChooseIsWasted") {
    Rig rig(8);
    REQUIRE(rig.serve(0, {0, 1}).is_ok());
    rig.store->forecast(forecasts(1, {3}));
    rig.settle(0);
    REQUIRE(rig.serve(1, {4, 5}).is_ok());
    CHECK(rig.stats().useful_bytes == 0);
    CHECK(rig.stats().wasted_bytes == rig.file.shape().expert_bytes());
}

TEST_CASE("OfTheNextLayerTheLikeliestAreReadFirst") {
    Rig rig(20, Prefetch::kAuto, kShape, "lru", 6);  // buffers, of which half are for reads ahead
    REQUIRE(rig.serve(0, {0, 1}).is_ok());
    std::vector<ExpertForecast> experts = forecasts(2, {1}, 2);
    experts.push_back({{1, 4}, 0.7F, 1});
    experts.push_back({{1, 5}, 0.8F, 1});
    experts.push_back({{1, 6}, 0.2F, 1});  // too unlikely
    rig.store->forecast(experts);
    REQUIRE(rig.reader->n_ahead() == 3);
    rig.reader->start_at_most(0);
    REQUIRE(rig.serve(1, {5}).is_ok());
    CHECK(rig.reader->n_promoted() == 3);
    rig.settle(1);
    const uint64_t n_hits = rig.store->stats().hits;
    REQUIRE(rig.serve(2, {1}).is_ok());
    CHECK(rig.store->stats().hits == n_hits + 1);
    CHECK(rig.stats().forecasts == 3);
}

TEST_CASE("NothingIsReadAheadWhileADemandReadIsOnItsWay") {
    Rig rig(8);
    {
        const Result<LeasePtr> lease = rig.store->acquire(0, kWhole, {0, 1});
        rig.store->forecast(forecasts(1, {3}));
        CHECK(rig.reader->n_in_flight() == 6);
        CHECK(rig.reader->n_ahead() == 0);
        for (int i = 0; i < 5; ++i) {
            CHECK(lease.value()->progress(true));
            CHECK(rig.reader->n_ahead() == 0);
        }
        CHECK(lease.value()->progress(true));
        CHECK(rig.reader->n_ahead() > 0);
    }
}

TEST_CASE("ADemandReadCancelsWhatHasNotBeenStarted") {
    Rig rig(8);
    REQUIRE(rig.serve(0, {0, 1}).is_ok());
    rig.store->forecast(forecasts(1, {3}));
    REQUIRE(rig.reader->n_ahead() == 3);
    rig.reader->start_at_most(0);
    REQUIRE(rig.serve(1, {4, 5}).is_ok());
    rig.settle(1);
    CHECK(rig.stats().cancelled_bytes == rig.file.shape().expert_bytes());
    CHECK(rig.stats().read_ahead_bytes == 0);
    CHECK(rig.store->resident_experts() == 4);  // its slot was given back
    REQUIRE(rig.serve(1, {3}).is_ok());         // and it can be read
}

TEST_CASE("AStartedReadThatIsInTheWayEndsAndCounts") {
    Rig rig(8);
    REQUIRE(rig.serve(0, {0, 1}).is_ok());
    rig.store->forecast(forecasts(2, {3}));
    REQUIRE(rig.reader->n_ahead() == 3);
    REQUIRE(rig.serve(1, {4, 5}).is_ok());  // everything has been started
    CHECK(rig.stats().cancelled_bytes == 0);
    rig.settle(1);
    REQUIRE(rig.serve(2, {3}).is_ok());
    CHECK(rig.stats().useful_bytes == rig.stats().read_ahead_bytes);
    CHECK(rig.stats().useful_bytes >= 2 * rig.file.shape().part_bytes());
}

TEST_CASE("ADemandForWhatIsBeingReadPromotesTheRead") {
    Rig rig(8);
    REQUIRE(rig.serve(0, {0, 1}).is_ok());
    rig.store->forecast(forecasts(1, {3}));
    REQUIRE(rig.reader->n_ahead() == 3);
    rig.reader->start_at_most(0);
    const uint64_t n_submitted = rig.reader->n_submitted();
    REQUIRE(rig.serve(1, {3, 4}).is_ok());
    CHECK(rig.reader->n_promoted() == 3);
    CHECK(rig.reader->n_submitted() == n_submitted + 3);  // expert 4
    CHECK(rig.stats().cancelled_bytes == 0);
    CHECK(rig.stats().useful_bytes == rig.file.shape().expert_bytes());
}

TEST_CASE("ACancelledReadThatIsAskedForBeforeItEndsIsReadAnew") {
    Rig rig(8);
    REQUIRE(rig.serve(0, {0, 1}).is_ok());
    rig.store->forecast(forecasts(2, {3}));
    REQUIRE(rig.reader->n_ahead() == 3);
    rig.reader->start_at_most(0);
    { const Result<LeasePtr> cancels = rig.store->acquire(1, kWhole, {4}); }  // and gives up
    REQUIRE(rig.serve(2, {3}).is_ok());
    CHECK(rig.stats().useful_bytes == 0);
}

TEST_CASE("AFailedReadAheadIsNobodysFailure") {
    for (const bool is_asked_for : {false, true}) {
        CAPTURE(is_asked_for);
        Rig rig(8);
        REQUIRE(rig.serve(0, {0, 1}).is_ok());
        rig.store->forecast(forecasts(1, {3}));
        rig.reader->fail_next(1);
        rig.settle(0);
        REQUIRE(rig.serve(1, is_asked_for ? std::vector<int32_t>{3} : std::vector<int32_t>{4}).is_ok());
        REQUIRE(rig.serve(1, {3}).is_ok());
    }
}

TEST_CASE("AForecastExpertThatIsThereIsNotEvicted") {
    Rig rig(4, Prefetch::kAlways);
    REQUIRE(rig.serve(0, {0, 1}).is_ok());
    REQUIRE(rig.serve(1, {2, 3}).is_ok());
    rig.store->forecast(forecasts(0, {0, 1}, 2));  // which LRU would evict first
    REQUIRE(rig.serve(2, {4, 5}).is_ok());
    const uint64_t n_hits = rig.store->stats().hits;
    REQUIRE(rig.serve(0, {0, 1}).is_ok());
    CHECK(rig.store->stats().hits == n_hits + 2);
}

TEST_CASE("ProtectionGivesWayToWhatIsAskedFor") {
    Rig rig(2, Prefetch::kAlways);
    REQUIRE(rig.serve(0, {0, 1}).is_ok());
    rig.store->forecast(forecasts(0, {0, 1}, 3));
    REQUIRE(rig.serve(1, {4, 5}).is_ok());
}

TEST_CASE("AReadAheadEvictsNothingThatIsForecastOrUsedNow") {
    Rig rig(2, Prefetch::kAlways);
    REQUIRE(rig.serve(0, {0, 1}).is_ok());
    std::vector<ExpertForecast> experts = forecasts(0, {0, 1}, 3);
    experts.push_back({{1, 3}, 1.0F, 1});
    rig.store->forecast(experts);
    CHECK(rig.reader->n_in_flight() == 0);
    {
        const Result<LeasePtr> lease = rig.store->acquire(0, kWhole, {0, 1});
        rig.store->forecast(forecasts(1, {3}));
        CHECK(rig.reader->n_in_flight() == 0);
        CHECK(rig.store->stats().evictions == 0);
    }
    CHECK(rig.reader->n_in_flight() == 3);  // once they are not used any more
    CHECK(rig.store->stats().evictions == 1);
}

TEST_CASE("AReadAheadMayEvictWhatItsLayerIsDoneWith") {
    Rig rig(2, Prefetch::kAlways);
    rig.reader->allow(kAll);
    REQUIRE(rig.serve(0, {0, 1}).is_ok());
    {
        const Result<LeasePtr> lease = rig.store->acquire(0, kWhole, {0, 1});
        lease.value()->release(0);
        rig.store->forecast(forecasts(1, {3}));
        CHECK(rig.store->stats().evictions == 1);
        CHECK(is_there(*lease.value(), 1, kWhole));
    }
    REQUIRE(rig.serve(1, {3}).is_ok());
    CHECK(rig.store->stats().prefetch.useful_bytes == kShape.expert_bytes());
}

TEST_CASE("AReadAheadEvictsNothingBetweenTheLeasesOfALayer") {
    Rig rig(2, Prefetch::kAlways);
    rig.reader->allow(kAll);
    REQUIRE(rig.serve(0, {0, 1}).is_ok());
    const uint64_t read_bytes = rig.store->stats().read_bytes;
    {
        const Result<LeasePtr> lease = rig.store->acquire(0, kGateAndUp, {0, 1});
        lease.value()->release(0);
        rig.store->forecast(forecasts(1, {3}));
        lease.value()->release(1);
    }
    CHECK(rig.store->stats().evictions == 0);
    REQUIRE(test::serve(rig.file, *rig.store, 0, kDownOnly, {0, 1}).is_ok());
    CHECK(rig.store->stats().read_bytes == read_bytes);
    CHECK(rig.store->stats().evictions == 1);  // now the layer is over
    REQUIRE(rig.serve(1, {3}).is_ok());
    CHECK(rig.store->stats().prefetch.useful_bytes == kShape.expert_bytes());
}

TEST_CASE("ACacheBelowATokensWorkingSetIsReadAheadToo") {
    Rig rig(4, Prefetch::kAlways, kShape, "default");
    rig.reader->allow(kAll);
    for (int32_t i = 0; i < 30 * kShape.n_layers; ++i) {
        const Result<LeasePtr> lease = rig.store->acquire(i % kShape.n_layers, kWhole, {0, 1});
        REQUIRE(lease.is_ok());
        rig.store->forecast(forecasts((i + 1) % kShape.n_layers, {0, 1}));
        for (size_t e = 0; e < 2; ++e) {
            while (!is_there(*lease.value(), e, kWhole)) {
                REQUIRE(lease.value()->progress(true));
            }
            lease.value()->release(e);
        }
    }
    const StreamStats stats = rig.store->stats();
    CHECK(stats.prefetch.useful_bytes > stats.read_bytes / 2);
}

TEST_CASE("APredictorThatIsAlwaysWrongCostsAtMostThreePercent") {
    const Shape shape = {4, 16, 32, 64, 100, 3};
    for (const uint64_t n_slots : {12, 20, 40}) {
        CAPTURE(n_slots);
        const StreamStats off = run(Prefetch::kOff, n_slots, 500, shape, wrong);
        const StreamStats with = run(Prefetch::kAuto, n_slots, 500, shape, wrong);
        CHECK(with.prefetch.read_ahead_bytes > 0);
        CHECK(with.prefetch.useful_bytes == 0);
        CHECK(static_cast<double>(with.read_bytes) <= 1.03 * static_cast<double>(off.read_bytes));
        CHECK(static_cast<double>(with.requests - with.hits) <= 1.03 * static_cast<double>(off.requests - off.hits));
    }
}

TEST_CASE("APerfectPredictorIsUsedAndNothingOfItIsWasted") {
    const Shape shape = {4, 16, 32, 64, 100, 3};
    const StreamStats off = run(Prefetch::kOff, 24, 400, shape, perfect);
    for (const Prefetch prefetch : {Prefetch::kAuto, Prefetch::kAlways}) {
        const StreamStats with = run(prefetch, 24, 400, shape, perfect);
        CHECK(with.prefetch.wasted_bytes == 0);
        CHECK(with.prefetch.read_ahead_bytes > 0.2 * static_cast<double>(with.read_bytes));
        // Routing is random here, so what leaves a layer earlier is at times what that layer wants.
        CHECK(static_cast<double>(with.read_bytes) < 1.03 * static_cast<double>(off.read_bytes));
        CHECK(with.hits > off.hits);
    }
}

TEST_CASE("RecallOfAPerfectPredictorIsOneAndOfAWrongOneZero") {
    for (const bool is_perfect : {true, false}) {
        Rig rig(8);
        for (int token = 0; token < 3; ++token) {
            for (int32_t layer = 0; layer < 3; ++layer) {
                REQUIRE(rig.serve(layer, {0, 1}).is_ok());
                rig.store->forecast(
                    forecasts((layer + 1) % 3, is_perfect ? std::vector<int32_t>{1, 0} : std::vector<int32_t>{2, 3}));
            }
        }
        const std::vector<LayerRecall> table = rig.store->recall();
        REQUIRE(table.size() == 3);
        for (const LayerRecall & row : table) {
            CHECK(row.distance == 1);
            CHECK(row.n_named == (is_perfect ? row.n_chosen : 0));
        }
    }
}

TEST_CASE("WhatIsReadAheadIsUsefulWastedOrNotKnownYet") {
    const Shape shape = {4, 16, 32, 64, 100, 3};
    std::mt19937 random(3);
    const auto half_right = [&random](const std::vector<int32_t> & next) {
        std::vector<int32_t> experts = random() % 2 == 0 ? next : wrong(next);
        return experts;
    };
    const StreamStats stats = run(Prefetch::kAlways, 20, 200, shape, half_right);
    CHECK(stats.prefetch.useful_bytes > 0);
    CHECK(stats.prefetch.wasted_bytes > 0);
    const uint64_t known = stats.prefetch.useful_bytes + stats.prefetch.wasted_bytes;
    CHECK(known <= stats.prefetch.read_ahead_bytes);
    CHECK(known + 3 * shape.expert_bytes() >= stats.prefetch.read_ahead_bytes);
}

TEST_CASE("PrewarmingFillsFreeSlotsAndEvictsNothing") {
    for (const Prefetch prefetch : {Prefetch::kOff, Prefetch::kAuto}) {
        Rig rig(5, prefetch);
        REQUIRE(rig.serve(0, {0, 1}).is_ok());
        const std::atomic<bool> stop{false};
        rig.store->prewarm({{0, 0}, {1, 2}, {9, 9}, {1, 3}, {2, 4}, {2, 5}}, stop);
        CHECK(rig.store->resident_experts() == 5);
        CHECK(rig.store->stats().evictions == 0);
        CHECK(rig.stats().prewarmed_bytes == 3 * rig.file.shape().expert_bytes());
        const uint64_t n_submitted = rig.reader->n_submitted();
        REQUIRE(rig.serve(1, {2, 3}).is_ok());
        REQUIRE(rig.serve(2, {4}).is_ok());
        CHECK(rig.reader->n_submitted() == n_submitted);
    }
}

TEST_CASE("PrewarmingStopsWhenToldTo") {
    Rig rig(8);
    const std::atomic<bool> stop{true};
    rig.store->prewarm({{0, 0}}, stop);
    CHECK(rig.store->resident_experts() == 0);
}

TEST_CASE("PrewarmingWaitsForDemandReads") {
    Rig rig(12);
    std::atomic<bool> stop{false};
    std::thread background;
    {
        const Result<LeasePtr> lease = rig.store->acquire(0, kWhole, {0, 1});
        background = std::thread([&] { rig.store->prewarm({{1, 2}, {1, 3}}, stop); });
        for (size_t i = 0; i < 2; ++i) {
            while (!is_there(*lease.value(), i, kWhole)) {
                REQUIRE(lease.value()->progress(true));
            }
            lease.value()->release(i);
        }
    }
    background.join();
    CHECK(rig.store->resident_experts() == 4);
    REQUIRE(rig.serve(1, {2, 3}).is_ok());
}

TEST_CASE("UsesAreCountedByPass") {
    Rig rig(8);
    for (int token = 0; token < 3; ++token) {
        REQUIRE(rig.serve(0, {0, token == 0 ? 1 : 2}).is_ok());
    }
    for (const ExpertStore::Use & use : rig.store->uses()) {
        const uint64_t expected = use.id == ExpertId{0, 0}   ? 3
                                  : use.id == ExpertId{0, 2} ? 2
                                                             : use.id == ExpertId{0, 1};
        CHECK(use.n_uses == expected);
    }
}

TEST_CASE("EvictAllEndsWhatIsReadAhead") {
    Rig rig(8);
    REQUIRE(rig.serve(0, {0, 1}).is_ok());
    rig.store->forecast(forecasts(1, {3, 4}));
    REQUIRE(rig.reader->n_in_flight() > 0);
    rig.store->evict_all();
    CHECK(rig.reader->n_in_flight() == 0);
    CHECK(rig.store->resident_experts() == 0);
    REQUIRE(rig.serve(1, {3, 4}).is_ok());
}

}  // namespace edgemoe::test
