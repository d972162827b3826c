// The store over real threads of a reader, and a reader between them that lies.
#include "faulty_reader.h"
#include "store/expert_store.h"
#include "store_testing.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <numeric>
#include <random>
#include <thread>

namespace edgemoe::test {
namespace {

std::unique_ptr<ExpertStore> faulty_store(const ExpertFile & file, uint64_t n_slots, size_t n_staging, FaultPlan plan,
                                          const std::string & engine = "threads") {
    const bool in_place = engine == "mmap";
    std::unique_ptr<AsyncReader> reader = in_place ? make_mmap_reader(3) : make_engine(engine, 3);
    if (reader == nullptr) {
        return nullptr;
    }
    return file.make_store(n_slots, std::make_unique<FaultyReader>(std::move(reader), plan), n_staging, "default",
                           in_place);
}

std::vector<int32_t> random_experts(std::mt19937 * random, int32_t n_experts) {
    std::vector<int32_t> experts(static_cast<size_t>(n_experts));
    std::iota(experts.begin(), experts.end(), 0);
    std::shuffle(experts.begin(), experts.end(), *random);
    experts.resize(1 + (*random)() % static_cast<uint32_t>(n_experts));
    return experts;
}

// As the matrix multiplication does: threads take experts that are there, in any order, until all are done or it
// failed. Counts the matrices whose bytes are wrong (doctest's macros are not for threads of a test).
Status compute(const ExpertFile & file, ExpertStore & store, int32_t layer, ProjectionMask mask,
               const std::vector<int32_t> & experts, int n_threads, std::atomic<int> * n_wrong) {
    Result<LeasePtr> acquired = store.acquire(layer, mask, experts);
    if (!acquired.is_ok()) {
        return acquired.status();
    }
    Lease & lease = *acquired.value();
    std::vector<std::atomic<bool>> taken(experts.size());
    for (auto & one : taken) {
        one.store(false);
    }
    const auto work = [&] {
        while (!lease.failed()) {
            bool open = false;
            bool did = false;
            for (size_t i = 0; i < experts.size(); ++i) {
                if (taken[i].load()) {
                    continue;
                }
                open = true;
                if (!is_there(lease, i, mask) || taken[i].exchange(true)) {
                    continue;
                }
                for (const Projection projection : projections_of(mask)) {
                    const std::byte * matrix = lease.data(i, projection);
                    if (matrix == nullptr || !file.holds({layer, experts[i]}, projection, matrix)) {
                        n_wrong->fetch_add(1);
                    }
                }
                lease.release(i);
                did = true;
                break;
            }
            if (!open) {
                return;
            }
            if (!did && !lease.progress(false)) {
                lease.progress(true);
            }
        }
    };
    std::vector<std::thread> threads;
    for (int i = 1; i < n_threads; ++i) {
        threads.emplace_back(work);
    }
    work();
    for (std::thread & thread : threads) {
        thread.join();
    }
    return lease.status();
}

}  // namespace

TEST_CASE("TheOrderOfCompletionsDoesNotMatter") {
    for (const std::string engine : {"threads", "uring", "mmap"}) {
        const ExpertFile file({2, 8, 96, 96, 4000});
        for (uint64_t seed = 1; seed <= 8; ++seed) {
            CAPTURE(engine);
            CAPTURE(seed);
            FaultPlan plan;
            plan.seed = seed;
            plan.reorder = true;
            plan.hold_back = 1 + seed % 5;
            const auto store = faulty_store(file, 3, 8, plan, engine);
            if (store == nullptr) {
                break;
            }
            for (int32_t layer = 0; layer < 2; ++layer) {
                CHECK(serve(file, *store, layer, kGateAndUp, {7, 1, 4, 2, 0}).is_ok());
                CHECK(serve(file, *store, layer, kDownOnly, {7, 1, 4, 2, 0}).is_ok());
            }
        }
    }
}

TEST_CASE("AReadThatLacksWantedBytesFailsAndOneThatLacksPaddingDoesNot") {
    // One block a matrix, which begins at the block's first byte.
    const ExpertFile file({1, 2, 32, 128, 0});
    for (const size_t shorten_by_bytes : {size_t{1}, size_t{4095}, size_t{4096}}) {
        for (uint64_t read = 0; read < 3; ++read) {
            CAPTURE(shorten_by_bytes);
            CAPTURE(read);
            FaultPlan plan;
            plan.shorten_read = read;
            plan.shorten_by_bytes = shorten_by_bytes;
            const auto store = faulty_store(file, 2, 8, plan);
            const Status status = serve(file, *store, 0, kWhole, {1});
            CHECK(status.code() == StatusCode::kIo);
            CHECK(status.message().find("unexpected end of file (blk.0 expert 1 ") != std::string::npos);
            CHECK(serve(file, *store, 0, kWhole, {1}).is_ok());
        }
    }
    // The matrix ends 96 bytes before its block does.
    const ExpertFile padded({1, 3, 40, 100, 0});
    FaultPlan plan;
    plan.shorten_read = 0;
    plan.shorten_by_bytes = 96;
    CHECK(serve(padded, *faulty_store(padded, 2, 8, plan), 0, projection_bit(Projection::kGate), {0}).is_ok());
    plan.shorten_by_bytes = 97;
    CHECK_FALSE(serve(padded, *faulty_store(padded, 2, 8, plan), 0, projection_bit(Projection::kGate), {0}).is_ok());
}

TEST_CASE("AFileThatWasCutAfterItWasOpenedIsAnErrorOfTheExpertBehindTheCut") {
    const ExpertFile file({1, 4, 64, 64, 0});
    const auto store = faulty_store(file, 2, 8, {});
    REQUIRE(::truncate(file.path().c_str(), static_cast<off_t>(file.shape().expert_bytes() * 3 + 10)) == 0);
    CHECK(serve(file, *store, 0, kWhole, {0, 1}).is_ok());
    const Status status = serve(file, *store, 0, kWhole, {3});
    CHECK(status.code() == StatusCode::kIo);
    // All three of its matrices are behind the cut; whichever read ends first gives the message.
    CHECK(status.message().find("(blk.0 expert 3 ") != std::string::npos);
    CHECK(serve(file, *store, 0, kWhole, {2, 1}).is_ok());
}

TEST_CASE("SeveralThreadsComputeFromOneLease") {
    const ExpertFile file({2, 8, 96, 96, 100});
    for (uint64_t seed = 1; seed <= 6; ++seed) {
        CAPTURE(seed);
        FaultPlan plan;
        plan.seed = seed;
        plan.reorder = true;
        std::mt19937 random(static_cast<uint32_t>(seed));
        const auto store = faulty_store(file, 1 + seed, 1 + random() % 8, plan);
        std::atomic<int> n_wrong{0};
        for (int pass = 0; pass < 8; ++pass) {
            for (int32_t layer = 0; layer < 2; ++layer) {
                const std::vector<int32_t> experts = random_experts(&random, 8);
                CHECK(compute(file, *store, layer, kGateAndUp, experts, 4, &n_wrong).is_ok());
                CHECK(compute(file, *store, layer, kDownOnly, experts, 4, &n_wrong).is_ok());
                CHECK(store->resident_bytes() <= store->cache_bytes());
            }
        }
        CHECK(n_wrong.load() == 0);
    }
}

TEST_CASE("SeveralThreadsShareMatricesOfManyReads") {
    const ExpertFile file({1, 4, 320, 8192, 100});
    FaultPlan plan;
    plan.reorder = true;
    std::mt19937 random(5);
    const auto store = faulty_store(file, 2, 3, plan);
    std::atomic<int> n_wrong{0};
    for (int pass = 0; pass < 4; ++pass) {
        CHECK(compute(file, *store, 0, kWhole, random_experts(&random, 4), 3, &n_wrong).is_ok());
    }
    CHECK(n_wrong.load() == 0);
}

TEST_CASE("AMappedFileThatWasCutEndsTheNextPassBeforeItIsTouched") {
    const ExpertFile file({2, 4, 64, 64, 0});
    const auto store = faulty_store(file, 8, 8, {}, "mmap");
    CHECK(serve(file, *store, 0, kWhole, {0, 1}).is_ok());
    CHECK(serve(file, *store, 1, kWhole, {0, 3}).is_ok());
    REQUIRE(::truncate(file.path().c_str(), 100) == 0);
    const Status status = serve(file, *store, 0, kWhole, {0, 1});
    CHECK(status.code() == StatusCode::kIo);
    CHECK(status.message().find("was resized") != std::string::npos);
}

TEST_CASE("FailuresAtRandomEndTheirLeaseAndNothingElse") {
    for (const Shape & shape : {Shape{2, 6, 96, 96, 100}, Shape{1, 3, 288, 8192, 100}}) {
        const ExpertFile file(shape);
        for (uint64_t seed = 1; seed <= 6; ++seed) {
            CAPTURE(seed);
            FaultPlan plan;
            plan.seed = seed;
            plan.reorder = true;
            plan.fail_one_in = 7;
            std::mt19937 random(static_cast<uint32_t>(seed));
            const auto store = faulty_store(file, 1 + random() % 4, 1 + random() % 8, plan);
            std::atomic<int> n_wrong{0};
            int n_failed = 0;
            for (int pass = 0; pass < 12; ++pass) {
                for (int32_t layer = 0; layer < shape.n_layers; ++layer) {
                    const std::vector<int32_t> experts = random_experts(&random, shape.n_experts);
                    for (const ProjectionMask mask : {kGateAndUp, kDownOnly}) {
                        const Status status = compute(file, *store, layer, mask, experts, 3, &n_wrong);
                        if (!status.is_ok()) {
                            CHECK(status.code() == StatusCode::kIo);
                            CHECK(status.message().find("Input/output error (blk.") != std::string::npos);
                            n_failed++;
                        }
                    }
                    CHECK(store->resident_bytes() <= store->cache_bytes());
                }
            }
            CHECK(n_failed > 0);
            CHECK(n_wrong.load() == 0);
        }
    }
}

}  // namespace edgemoe::test
