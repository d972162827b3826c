// Several threads submit, wait, reap, cancel and promote at random. Checked: each request completes exactly once, every
// ok completion has the file's bytes, and nobody hangs.
#include "storage/async_reader.h"

#include "faulty_reader.h"
#include "reader_testing.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <random>
#include <thread>
#include <utility>
#include <vector>

namespace edgemoe::test {
namespace {

constexpr size_t kThreads = 4;
constexpr size_t kReadsPerThread = 400;
constexpr size_t kReads = kThreads * kReadsPerThread;
constexpr size_t kSlots = 64;  // destinations, so at most so many requests are in flight
constexpr size_t kMaxReadBytes = 4 * kDirectAlignment;
constexpr uint64_t kFileBytes = 200 * kDirectAlignment + 777;

class Stress {
public:
    Stress(std::unique_ptr<AsyncReader> reader, const File & file, uint64_t seed)
        : file_(file), seed_(seed), memory_(allocate(kSlots * kMaxReadBytes)), reader_(std::move(reader)) {
        for (size_t slot = 0; slot < kSlots; ++slot) {
            free_slots_.push_back(slot);
        }
    }

    void run() {
        std::vector<std::thread> threads;
        for (size_t number = 0; number < kThreads; ++number) {
            threads.emplace_back([this, number] { run_thread(number); });
        }
        for (std::thread & thread : threads) {
            thread.join();
        }
        CHECK(n_wrong_bytes_ == 0);
        CHECK(n_failed_ == 0);
        CHECK(free_slots_.size() == kSlots);
        CHECK(std::all_of(n_completions_.begin(), n_completions_.end(), [](const auto & n) { return n == 1; }));
    }

private:
    void run_thread(size_t number) {
        std::mt19937_64 random(seed_ * kThreads + number);
        const uint64_t first_id = number * kReadsPerThread;
        uint64_t next_id = first_id;
        std::vector<ReadCompletion> completions;
        while (next_id < first_id + kReadsPerThread) {
            switch (random() % 6) {
                case 0:
                case 1:
                    submit(&next_id, std::min<uint64_t>(1 + random() % 8, first_id + kReadsPerThread - next_id),
                           &random);
                    break;
                case 2:
                    reader_->cancel(random() % kReads);
                    break;
                case 3:
                    reader_->promote(random() % kReads);
                    break;
                case 4:
                    reader_->reap(&completions);
                    break;
                default:
                    reader_->wait(&completions);
                    break;
            }
            take(&completions);
        }
        while (reader_->wait(&completions) > 0) {
            take(&completions);
        }
    }

    // Submits up to `n` reads, as many as there are destinations for.
    void submit(uint64_t * next_id, size_t n, std::mt19937_64 * random) {
        std::vector<ReadRequest> requests;
        {
            const std::lock_guard<std::mutex> lock(mutex_);
            while (requests.size() < n && !free_slots_.empty()) {
                const size_t slot = free_slots_.back();
                free_slots_.pop_back();
                ReadRequest request;
                request.id = (*next_id)++;
                request.file = &file_;
                request.bytes = (1 + (*random)() % 4) * kDirectAlignment;
                request.offset = (*random)() % 200 * kDirectAlignment;
                request.destination = memory_.data() + slot * kMaxReadBytes;
                request.priority = (*random)() % 2 == 0 ? ReadPriority::kDemand : ReadPriority::kPrefetch;
                requests_[request.id] = request;
                requests.push_back(request);
            }
        }
        reader_->submit(requests);
    }

    void take(std::vector<ReadCompletion> * completions) {
        for (const ReadCompletion & completion : *completions) {
            const ReadRequest & request = requests_[completion.id];
            ++n_completions_[completion.id];
            if (completion.status.is_ok()) {
                const uint64_t expected = std::min<uint64_t>(request.bytes, kFileBytes - request.offset);
                const size_t matching = matching_bytes(request.destination, expected, request.offset);
                n_wrong_bytes_ += expected - matching + (completion.bytes_read == expected ? 0 : 1);
            } else if (completion.status.code() != StatusCode::kCancelled) {
                ++n_failed_;
            }
            std::fill_n(request.destination, request.bytes, std::byte{0});
            const std::lock_guard<std::mutex> lock(mutex_);
            free_slots_.push_back(static_cast<size_t>(request.destination - memory_.data()) / kMaxReadBytes);
        }
        completions->clear();
    }

    const File & file_;
    const uint64_t seed_;
    AlignedMemory memory_;
    std::mutex mutex_;
    std::vector<size_t> free_slots_;                                        // guarded by mutex_
    std::vector<ReadRequest> requests_ = std::vector<ReadRequest>(kReads);  // by id; written before submit()
    std::vector<std::atomic<int>> n_completions_ = std::vector<std::atomic<int>>(kReads);  // by id
    std::atomic<uint64_t> n_wrong_bytes_{0};
    std::atomic<uint64_t> n_failed_{0};
    std::unique_ptr<AsyncReader> reader_;  // last: its destructor waits for reads into memory_
};

}  // namespace

TEST_CASE("random use by several threads loses, repeats and damages nothing") {
    const TemporaryFile temporary(kFileBytes);
    for (const bool want_direct : {false, true}) {
        const auto file = open_file(temporary.path(), want_direct);
        for (const char * engine : kEngines) {
            for (uint64_t seed = 1; seed <= 4; ++seed) {
                auto reader = make_engine(engine, static_cast<int>(1 + seed % 4 * 3));
                if (reader == nullptr) {
                    break;
                }
                CAPTURE(engine);
                CAPTURE(want_direct);
                CAPTURE(seed);
                if (seed % 2 == 0) {
                    FaultPlan plan;
                    plan.seed = seed;
                    plan.reorder = true;
                    plan.hold_back = 3;
                    reader = std::make_unique<FaultyReader>(std::move(reader), plan);
                }
                Stress(std::move(reader), *file, seed).run();
            }
        }
    }
}

}  // namespace edgemoe::test
