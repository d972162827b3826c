#include "store/expert_store.h"

#include "fake_reader.h"
#include "store_testing.h"

#include <doctest/doctest.h>

#include <numeric>

namespace edgemoe::test {
namespace {

// A store over a fake reader, which stays reachable.
struct Bench {
    explicit Bench(Shape shape = {}, uint64_t n_slots = 8, size_t n_staging = 8, uint64_t most_joined_bytes = 0)
        : file(shape) {
        auto fake = std::make_unique<FakeReader>();
        reader = fake.get();
        store = file.make_store(n_slots, std::move(fake), n_staging, "lru", false, Prefetch::kOff, most_joined_bytes);
    }

    LeasePtr acquire(int32_t layer, ProjectionMask mask, const std::vector<int32_t> & experts) {
        Result<LeasePtr> lease = store->acquire(layer, mask, experts);
        REQUIRE_MESSAGE(lease.is_ok(), lease.status().message());
        return std::move(lease).value();
    }

    Status serve(int32_t layer, ProjectionMask mask, const std::vector<int32_t> & experts) {
        return test::serve(file, *store, layer, mask, experts);
    }

    ExpertFile file;
    FakeReader * reader = nullptr;
    std::unique_ptr<ExpertStore> store;
};

// Matrices of 2.5 MiB: three reads each.
constexpr Shape kLarge = {1, 3, 320, 8192, 100};

void wait_until_failed(Lease * lease) {
    while (!lease->failed()) {
        REQUIRE((lease->progress(true) || lease->failed()));
    }
}

}  // namespace

TEST_CASE("ExpertsAreReadOnceAndThenResident") {
    Bench bench;
    CHECK(bench.serve(1, kWhole, {2, 0}).is_ok());
    CHECK(bench.store->stats().read_bytes == 2 * bench.file.shape().expert_bytes());
    CHECK(bench.store->resident_experts() == 2);
    CHECK(bench.store->resident_bytes() == 2 * bench.file.shape().expert_bytes());
    const uint64_t n_submitted = bench.reader->n_submitted();
    CHECK(bench.serve(1, kWhole, {0, 2}).is_ok());
    CHECK(bench.reader->n_submitted() == n_submitted);
}

TEST_CASE("WhatWasEvictedAtOnceIsReadAnew") {
    Bench bench;
    CHECK(bench.serve(0, kWhole, {0, 1}).is_ok());
    CHECK(bench.serve(1, kWhole, {3}).is_ok());
    bench.store->evict_all();
    CHECK(bench.store->resident_experts() == 0);
    CHECK(bench.store->resident_bytes() == 0);
    CHECK(bench.store->stats().evictions == 3);
    const uint64_t read_bytes = bench.store->stats().read_bytes;
    CHECK(bench.serve(0, kWhole, {1}).is_ok());
    CHECK(bench.store->stats().read_bytes == read_bytes + bench.file.shape().expert_bytes());
}

TEST_CASE("ReadsThatNobodyWaitsForAnyMoreEndBeforeTheirSlotsAreGivenUp") {
    Bench bench({}, 8, 2);
    bench.acquire(0, kWhole, {0, 1, 2}).reset();  // two reads in flight
    bench.store->evict_all();
    CHECK(bench.store->resident_experts() == 0);
    CHECK(bench.serve(0, kWhole, {0, 1, 2, 3}).is_ok());
}

TEST_CASE("NothingIsThereBeforeItsReadArrivedAndNothingBlocksUnlessItMay") {
    Bench bench;
    const auto lease = bench.acquire(0, kGateAndUp, {1});
    CHECK_FALSE(lease->progress(false));
    CHECK(lease->data(0, Projection::kGate) == nullptr);
    bench.reader->allow(1);
    CHECK(lease->progress(false));
    CHECK_FALSE(lease->progress(false));
    REQUIRE(lease->data(0, Projection::kGate) != nullptr);
    CHECK(bench.file.holds({0, 1}, Projection::kGate, lease->data(0, Projection::kGate)));
    CHECK(lease->data(0, Projection::kUp) == nullptr);
    CHECK(lease->progress(true));
    CHECK(lease->data(0, Projection::kUp) != nullptr);
}

TEST_CASE("AMatrixOfSeveralReadsIsThereWhenTheLastArrived") {
    Bench bench(kLarge, 3, 4);
    const auto lease = bench.acquire(0, kDownOnly, {1});
    for (int i = 0; i < 3; ++i) {
        CHECK(lease->data(0, Projection::kDown) == nullptr);
        CHECK(lease->progress(true));
    }
    REQUIRE(lease->data(0, Projection::kDown) != nullptr);
    CHECK(bench.file.holds({0, 1}, Projection::kDown, lease->data(0, Projection::kDown)));
}

TEST_CASE("SmallMatricesThatFollowEachOtherAreOneRead") {
    for (const uint64_t first_offset : {0, 100}) {  // of blocks of their own, and with blocks that two share
        CAPTURE(first_offset);
        Bench bench({2, 4, 64, 128, first_offset}, 8, 8, kMostJoinedBytes);
        {
            const auto lease = bench.acquire(0, kWhole, {1, 2});
            CHECK(bench.reader->n_submitted() == 2);
            CHECK(lease->progress(true));
            for (const Projection projection : {Projection::kGate, Projection::kUp, Projection::kDown}) {
                REQUIRE(lease->data(0, projection) != nullptr);
                CHECK(bench.file.holds({0, 1}, projection, lease->data(0, projection)));
                CHECK(lease->data(1, projection) == nullptr);
            }
        }
        REQUIRE(bench.serve(1, kGateAndUp, {0}).is_ok());
        REQUIRE(bench.serve(1, kDownOnly, {0}).is_ok());
        CHECK(bench.reader->n_submitted() == 3);  // the down matrix came with the others
        CHECK(bench.store->stats().read_bytes == 3 * bench.file.shape().expert_bytes());
    }
}

TEST_CASE("AJoinedReadThatFailsIsReadAnew") {
    Bench bench({1, 4, 64, 128, 100}, 8, 8, kMostJoinedBytes);
    bench.reader->fail_next(1);
    const Status status = bench.serve(0, kWhole, {1});
    CHECK(status.code() == StatusCode::kIo);
    CHECK(status.message().find("(blk.0 expert 1 gate)") != std::string::npos);
    CHECK(bench.serve(0, kWhole, {1}).is_ok());
    CHECK(bench.reader->n_submitted() == 2);
}

TEST_CASE("MatricesAreNotJoinedBeyondTheLimit") {
    Bench bench({1, 2, 64, 1024, 0}, 2, 8, 130'000);  // 64 KiB each
    CHECK(bench.serve(0, kWhole, {1}).is_ok());
    CHECK(bench.reader->n_submitted() == 3);
}

TEST_CASE("ACacheThatDoesNotHoldOneExpertIsRefusedWithTheLeastThatDoes") {
    const ExpertFile file({});
    const CopyConverter converter;
    const uint64_t least = ExpertStore::least_cache_bytes(file.index());
    CHECK(least == file.shape().expert_bytes());
    for (const uint64_t cache_bytes : {uint64_t{0}, least - 1}) {
        ExpertStoreOptions options;
        options.cache_bytes = cache_bytes;
        options.policy = make_eviction_policy("lru", {2, 4}).value();
        options.reader = std::make_unique<FakeReader>();
        const Result<std::unique_ptr<ExpertStore>> store =
            ExpertStore::create(file.index(), converter, std::move(options));
        REQUIRE_FALSE(store.is_ok());
        CHECK(store.status().code() == StatusCode::kOutOfBudget);
        CHECK(store.status().message().find("the least is " + std::to_string(least)) != std::string::npos);
    }
}

TEST_CASE("ASlotIsAsLargeAsItsMatricesEachRoundedUpToTheCachesGranularity") {
    ExpertParts parts;
    parts[0] = {true, 0, 0, 0, 65, 65, 1};
    parts[3] = {true, 0, 0, 65, 64, 64, 1};
    CHECK(ExpertStore::slot_bytes(parts) == 128 + 64);
}

TEST_CASE("AnExpertOrMatrixThatDoesNotExistIsRefusedAndTheStoreGoesOn") {
    Bench bench;
    for (const auto & [layer, expert, mask] : {std::tuple{0, 4, kWhole},
                                               {0, -1, kWhole},
                                               {2, 0, kWhole},
                                               {-1, 0, kWhole},
                                               {0, 1, projection_bit(Projection::kGateUp)}}) {
        const Result<LeasePtr> lease = bench.store->acquire(layer, mask, {0, expert});
        REQUIRE_FALSE(lease.is_ok());
        CHECK(lease.status().code() == StatusCode::kFormat);
        CHECK(lease.status().message().find("blk." + std::to_string(layer) + " expert ") != std::string::npos);
    }
    CHECK(bench.reader->n_submitted() == 0);
    CHECK(bench.store->resident_experts() == 0);
    CHECK(bench.serve(0, kWhole, {0, 1}).is_ok());
}

TEST_CASE("ALeaseOfNoExpertsIsNoWork") {
    Bench bench;
    const auto lease = bench.acquire(0, kWhole, {});
    CHECK(lease->size() == 0);
    CHECK_FALSE(lease->progress(true));
    CHECK_FALSE(lease->failed());
}

TEST_CASE("ALeaseLargerThanTheCacheIsServedInWaves") {
    for (const uint64_t n_slots : {1, 2, 3}) {
        CAPTURE(n_slots);
        Bench bench({1, 16, 64, 64, 100}, n_slots);
        std::vector<int32_t> experts(16);
        std::iota(experts.begin(), experts.end(), 0);
        for (int pass = 0; pass < 2; ++pass) {
            CHECK(bench.serve(0, kGateAndUp, experts).is_ok());
            CHECK(bench.serve(0, kDownOnly, experts).is_ok());
        }
        CHECK(bench.store->stats().requests == 32);
        CHECK(bench.store->resident_experts() <= n_slots);
    }
}

TEST_CASE("AnExpertThatIsNotReleasedIsNotEvicted") {
    Bench bench({1, 8, 64, 64, 100}, 2);
    const auto lease = bench.acquire(0, kWhole, {0, 1, 2, 3, 4, 5, 6, 7});
    while (!is_there(*lease, 0, kWhole)) {
        REQUIRE(lease->progress(true));
    }
    const std::byte * held = lease->data(0, Projection::kGate);
    for (size_t i = 1; i < 8; ++i) {  // all others pass through the second slot
        while (!is_there(*lease, i, kWhole)) {
            REQUIRE(lease->progress(true));
        }
        CHECK(bench.file.holds({0, static_cast<int32_t>(i)}, Projection::kUp, lease->data(i, Projection::kUp)));
        lease->release(i);
    }
    CHECK(lease->data(0, Projection::kGate) == held);
    CHECK(bench.file.holds({0, 0}, Projection::kGate, held));
    CHECK(bench.store->stats().evictions == 6);
}

TEST_CASE("AResidentExpertIsPinnedBeforeAnotherOfTheSameLeaseIsGivenASlot") {
    Bench bench({1, 4, 64, 64, 100}, 2);
    CHECK(bench.serve(0, kWhole, {0}).is_ok());
    CHECK(bench.serve(0, kWhole, {1}).is_ok());
    // 0 is the least recently used, and would leave for 2.
    CHECK(bench.serve(0, kWhole, {2, 0}).is_ok());
    CHECK(bench.store->stats().hits == 1);
    CHECK(bench.store->stats().read_bytes == 3 * bench.file.shape().expert_bytes());
}

TEST_CASE("ASecondLeaseWhileOneHoldsAllRoomFailsInsteadOfHanging") {
    Bench bench({1, 4, 64, 64, 100}, 1);
    {
        const auto first = bench.acquire(0, kWhole, {0});
        while (!is_there(*first, 0, kWhole)) {
            REQUIRE(first->progress(true));
        }
        const Status refused = bench.serve(0, kWhole, {1});
        CHECK(refused.code() == StatusCode::kOutOfBudget);
        CHECK(refused.message().find("blk.0") != std::string::npos);
        CHECK(bench.file.holds({0, 0}, Projection::kDown, first->data(0, Projection::kDown)));
    }
    {
        const auto first = bench.acquire(0, kWhole, {2});  // not there yet: the second one is let in and waits
        const auto second = bench.acquire(0, kWhole, {3});
        wait_until_failed(second.get());
        CHECK(second->status().code() == StatusCode::kOutOfBudget);
    }
    CHECK(bench.serve(0, kWhole, {1}).is_ok());
}

TEST_CASE("WhenAllFitTheLayersOtherMatricesAreReadAhead") {
    Bench bench;
    CHECK(bench.serve(0, kGateAndUp, {0, 1}).is_ok());
    CHECK(bench.reader->n_submitted() == 6);
    CHECK(bench.serve(0, kDownOnly, {0, 1}).is_ok());
    CHECK(bench.reader->n_submitted() == 6);
    CHECK(bench.store->stats().read_bytes == 2 * bench.file.shape().expert_bytes());
}

TEST_CASE("AnExpertIsCountedOnceALayerAndPass") {
    Bench bench;
    for (uint64_t pass = 1; pass <= 3; ++pass) {
        for (int32_t layer = 0; layer < 2; ++layer) {
            CHECK(bench.serve(layer, kGateAndUp, {0, 3}).is_ok());
            CHECK(bench.serve(layer, kDownOnly, {0, 3}).is_ok());
        }
        CHECK(bench.store->stats().requests == pass * 4);
        CHECK(bench.store->stats().hits == (pass - 1) * 4);
    }
    CHECK(bench.store->stats().evictions == 0);
}

TEST_CASE("StallsAddUp") {
    Bench bench;
    bench.store->add_layer_time(2.0, 1.5);
    bench.store->add_layer_time(1.0, 0.25);
    CHECK(bench.store->stats().stall_seconds == doctest::Approx(1.75));
}

// ---- failed reads ----

TEST_CASE("AFailedReadNamesFileBlockExpertAndMatrixAndTheNextReadSucceeds") {
    Bench bench;
    bench.reader->fail_next(1);
    const Status status = bench.serve(1, kGateAndUp, {3, 2});
    CHECK(status.code() == StatusCode::kIo);
    CHECK(status.message().find(bench.file.path()) == 0);
    CHECK(status.message().find("Input/output error (blk.1 expert 3 gate)") != std::string::npos);
    CHECK(bench.serve(1, kGateAndUp, {3, 2}).is_ok());
    CHECK(bench.serve(1, kDownOnly, {3, 2}).is_ok());
}

TEST_CASE("EveryReadOfALeaseMayFailAndTheNextLeaseIsRight") {
    for (const size_t n_staging : {1, 2, 8}) {
        for (size_t good = 0; good < 6; ++good) {
            CAPTURE(n_staging);
            CAPTURE(good);
            Bench bench({1, 4, 64, 64, 100}, 2, n_staging);
            {
                const auto lease = bench.acquire(0, kWhole, {0, 1});
                for (size_t i = 0; i < good; ++i) {
                    REQUIRE(lease->progress(true));
                }
                bench.reader->fail_next(1);
                wait_until_failed(lease.get());
            }
            CHECK(bench.serve(0, kWhole, {1, 2, 0}).is_ok());
            CHECK(bench.store->stats().requests == 5);
        }
    }
}

TEST_CASE("AfterAFailureReleaseAdmitsNobody") {
    Bench bench({1, 8, 64, 64, 100}, 2, 1);
    const auto lease = bench.acquire(0, kWhole, {0, 1, 2, 3});
    while (!is_there(*lease, 0, kWhole)) {
        REQUIRE(lease->progress(true));
    }
    bench.reader->fail_next(1);
    wait_until_failed(lease.get());
    const uint64_t evictions = bench.store->stats().evictions;
    lease->release(0);
    CHECK(bench.store->stats().evictions == evictions);
    CHECK(lease->data(2, Projection::kGate) == nullptr);
    CHECK_FALSE(bench.store->resident_experts() > 2);
}

TEST_CASE("ReadsThatAFailedLeaseLeftInFlightDelayTheNextLeaseAndDoNotRefuseIt") {
    for (const bool partly : {false, true}) {
        CAPTURE(partly);
        // All slots are held by reads of the failed lease, or all but one.
        Bench bench({1, 8, 64, 64, 100}, partly ? 3 : 2, 16);
        {
            const auto lease = bench.acquire(0, kWhole, {0, 1});
            bench.reader->fail_next(1);
            wait_until_failed(lease.get());
        }
        CHECK(bench.reader->n_in_flight() == 5);
        CHECK(bench.serve(0, kWhole, {4, 5, 6}).is_ok());
        CHECK(bench.reader->n_in_flight() == 0);
    }
}

TEST_CASE("AMatrixThatAnEarlierLeaseReadInPartAndLostIsReadAgain") {
    // The first third fails and ends the lease; the others are in flight, or never submitted.
    for (const size_t n_staging : {1, 2, 16}) {
        CAPTURE(n_staging);
        Bench bench(kLarge, 2, n_staging);
        {
            const auto lease = bench.acquire(0, kGateAndUp, {0});
            bench.reader->fail_next(1);
            wait_until_failed(lease.get());
        }
        CHECK(bench.serve(0, kGateAndUp, {0, 1, 2}).is_ok());
    }
}

TEST_CASE("WhatIsReadAgainForALeaseMayFailForIt") {
    Bench bench(kLarge, 2, 16);
    for (int i = 0; i < 2; ++i) {
        bench.reader->fail_next(1000);
        CHECK(bench.serve(0, kGateAndUp, {0}).code() == StatusCode::kIo);
    }
    bench.reader->fail_next(0);
    CHECK(bench.serve(0, kGateAndUp, {0}).is_ok());
}

TEST_CASE("AReadAheadThatFailsIsNoErrorAndIsMadeAgainWhenItIsWanted") {
    for (const bool in_the_next_lease : {false, true}) {
        CAPTURE(in_the_next_lease);
        Bench bench;
        CHECK(bench.serve(0, kGateAndUp, {0}).is_ok());
        CHECK(bench.reader->n_in_flight() == 1);
        bench.reader->fail_next(1);
        if (!in_the_next_lease) {
            CHECK(bench.serve(1, kGateAndUp, {0}).is_ok());
        }
        CHECK(bench.serve(0, kDownOnly, {0}).is_ok());
    }
}

TEST_CASE("ALeaseThatIsGivenUpDropsItsReadsThatWereNotSubmitted") {
    Bench bench({1, 8, 64, 64, 100}, 8, 2);
    { const auto lease = bench.acquire(0, kWhole, {0, 1, 2, 3}); }
    CHECK(bench.reader->n_submitted() == 2);
    CHECK(bench.serve(0, kWhole, {7}).is_ok());
    CHECK(bench.reader->n_submitted() == 2 + 3);
    CHECK(bench.serve(0, kWhole, {3, 2, 1, 0}).is_ok());
}

}  // namespace edgemoe::test
