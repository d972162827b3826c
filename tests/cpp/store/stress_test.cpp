// Eviction, giving up and reuse of slots, while reads are late, out of order, short and failing at random: over every
// engine, with several threads. Made for ThreadSanitizer and AddressSanitizer.
#include "faulty_reader.h"
#include "store/expert_store.h"
#include "store_testing.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <numeric>
#include <random>
#include <thread>

namespace edgemoe::test {
namespace {

// How one lease went.
struct Outcome {
    bool failed = false;
    int n_wrong = 0;  // matrices with other bytes than the file's
};

class Computation {
public:
    Computation(const ExpertFile & file, ExpertStore & store, Lease & lease, int32_t layer, ProjectionMask mask,
                const std::vector<int32_t> & experts, size_t n_to_do)
        : file_(file),
          store_(store),
          lease_(lease),
          layer_(layer),
          mask_(mask),
          experts_(experts),
          taken_(experts.size()) {
        n_left_.store(static_cast<int>(n_to_do));
    }

    Outcome run(int n_threads) {
        std::vector<std::thread> threads;
        std::atomic<int> n_running{n_threads};
        const auto run_one = [&] {
            work();
            n_running.fetch_sub(1);
            // Who computes all that was asked for wakes the others by that. Where it is given up, some may sleep for
            // what nobody will compute.
            while (n_running.load() > 0) {
                store_.wake();
                std::this_thread::sleep_for(std::chrono::microseconds(200));
            }
        };
        for (int i = 1; i < n_threads; ++i) {
            threads.emplace_back(run_one);
        }
        run_one();
        for (std::thread & thread : threads) {
            thread.join();
        }
        return {lease_.failed(), n_wrong_.load()};
    }

private:
    void work() {
        while (!lease_.failed() && n_left_.load() > 0) {
            if (!take_one() && n_left_.load() > 0 && !lease_.progress(false)) {
                lease_.progress(true);
            }
        }
        while (!lease_.failed() && lease_.reads_ahead() && lease_.progress(false)) {
        }
    }

    bool take_one() {
        for (size_t i = 0; i < experts_.size(); ++i) {
            if (taken_[i].load() || !is_there(lease_, i, mask_) || taken_[i].exchange(true)) {
                continue;
            }
            for (const Projection projection : projections_of(mask_)) {
                const std::byte * matrix = lease_.data(i, projection);
                if (matrix == nullptr || !file_.holds({layer_, experts_[i]}, projection, matrix)) {
                    n_wrong_.fetch_add(1);
                }
            }
            lease_.release(i);
            n_left_.fetch_sub(1);
            return true;
        }
        return false;
    }

    const ExpertFile & file_;
    ExpertStore & store_;
    Lease & lease_;
    const int32_t layer_;
    const ProjectionMask mask_;
    const std::vector<int32_t> & experts_;
    std::vector<std::atomic<bool>> taken_;
    std::atomic<int> n_left_{0};
    std::atomic<int> n_wrong_{0};
};

std::unique_ptr<AsyncReader> make_reader_of(const std::string & engine) {
    return engine == "mmap" ? make_mmap_reader(3) : make_engine(engine, 3);
}

// Of how many leases, and how many of them failed.
struct Tally {
    int n_done = 0;
    int n_failed = 0;
    uint64_t read_ahead_bytes = 0;
};

// Some experts of the coming layers, and some that do not exist.
std::vector<ExpertForecast> guess(const Shape & shape, int32_t layer, std::mt19937 * random) {
    std::vector<ExpertForecast> experts;
    for (int32_t distance = 1; distance <= 2; ++distance) {
        for (uint32_t n = (*random)() % 4; n > 0; --n) {
            const auto expert = static_cast<int32_t>((*random)() % static_cast<uint32_t>(shape.n_experts + 1));
            experts.push_back(
                {{(layer + distance) % shape.n_layers, expert}, 0.1F * static_cast<float>((*random)() % 11), distance});
        }
    }
    return experts;
}

void stress(const std::string & engine, const Shape & shape, uint32_t seed, Prefetch prefetch, Tally * tally) {
    std::mt19937 random(seed);
    const auto below = [&random](int32_t n) { return static_cast<int32_t>(random() % static_cast<uint32_t>(n)); };
    std::unique_ptr<AsyncReader> reader = make_reader_of(engine);
    if (reader == nullptr) {
        return;
    }
    FaultPlan plan;
    plan.seed = seed;
    plan.reorder = true;
    plan.hold_back = static_cast<size_t>(below(6));
    plan.fail_one_in = 25;
    plan.shorten_one_in = 25;
    plan.shorten_by_bytes = 3000 + static_cast<size_t>(below(3000));
    const ExpertFile file(shape);
    const auto store = file.make_store(
        static_cast<uint64_t>(1 + below(2 * shape.n_experts)), std::make_unique<FaultyReader>(std::move(reader), plan),
        static_cast<size_t>(1 + below(9)), "default", engine == "mmap", prefetch, below(2) == 0 ? 0 : kMostJoinedBytes);
    std::atomic<bool> stop{false};
    std::vector<ExpertId> hot;
    for (int32_t expert = 0; expert < shape.n_experts; ++expert) {
        hot.push_back({shape.n_layers - 1, expert});
    }
    std::thread background;
    if (prefetch != Prefetch::kOff) {
        background = std::thread([&] { store->prewarm(hot, stop); });
    }
    for (int pass = 0; pass < 14; ++pass) {
        for (int32_t layer = 0; layer < shape.n_layers; ++layer) {
            std::vector<int32_t> experts(static_cast<size_t>(shape.n_experts));
            std::iota(experts.begin(), experts.end(), 0);
            std::shuffle(experts.begin(), experts.end(), random);
            experts.resize(static_cast<size_t>(1 + below(pass % 3 == 0 ? shape.n_experts : shape.n_experts_used)));
            for (const ProjectionMask mask : {kGateAndUp, kDownOnly}) {
                Result<LeasePtr> lease = store->acquire(layer, mask, experts);
                REQUIRE_MESSAGE(lease.is_ok(), lease.status().message());
                // One in four is given up before it is done.
                const size_t n_to_do =
                    below(4) == 0 ? static_cast<size_t>(below(static_cast<int32_t>(experts.size()))) : experts.size();
                // From a thread of its own, while others compute.
                std::thread predictor;
                if (prefetch != Prefetch::kOff && mask == kGateAndUp) {
                    predictor =
                        std::thread([&store, experts = guess(shape, layer, &random)] { store->forecast(experts); });
                }
                const Outcome outcome =
                    Computation(file, *store, *lease.value(), layer, mask, experts, n_to_do).run(1 + below(4));
                if (predictor.joinable()) {
                    predictor.join();
                }
                CHECK(outcome.n_wrong == 0);
                if (outcome.failed) {
                    const StatusCode code = lease.value()->status().code();
                    CHECK(code == StatusCode::kIo);
                    tally->n_failed++;
                } else {
                    tally->n_done++;
                }
                CHECK(store->resident_bytes() <= store->cache_bytes());
            }
        }
    }
    stop.store(true);
    store->wake();
    if (background.joinable()) {
        background.join();
    }
    tally->read_ahead_bytes += store->stats().prefetch.read_ahead_bytes;
}

}  // namespace

TEST_CASE("NothingIsWrongOrHangsWhenReadsAreLateReorderedShortAndFailing") {
    for (const std::string engine : {"threads", "uring", "mmap"}) {
        CAPTURE(engine);
        if (make_reader_of(engine) == nullptr) {
            continue;
        }
        Tally tally;
        for (uint32_t seed = 1; seed <= 6; ++seed) {
            CAPTURE(seed);
            for (const Prefetch prefetch : {Prefetch::kOff, Prefetch::kAuto, Prefetch::kAlways}) {
                stress(engine, {2, 8, 96, 96, 100, 3}, seed, prefetch, &tally);
                stress(engine, {1, 4, 288, 8192, 4096, 2}, seed, prefetch, &tally);
            }
        }
        CHECK(tally.read_ahead_bytes > 0);
        CHECK(tally.n_failed > 0);
        CHECK(tally.n_done > 0);
    }
}

}  // namespace edgemoe::test
