// A reader that forwards to another one and lies as it is told: for tests of those who use readers.
#pragma once

#include "storage/async_reader.h"

#include <algorithm>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <mutex>
#include <random>
#include <unordered_map>
#include <utility>
#include <vector>

namespace edgemoe::test {

// What goes wrong. Reads are numbered from 0 in the order in which they are submitted; kNever is no read.
struct FaultPlan {
    static constexpr uint64_t kNever = UINT64_MAX;

    uint64_t seed = 1;               // of everything that is random; print it when a test fails
    uint64_t fail_read = kNever;     // completes with kIo (EIO), whatever really happened
    uint64_t shorten_read = kNever;  // reports fewer bytes than asked for, as at the end of a file
    size_t shorten_by_bytes = 1;
    uint64_t corrupt_read = kNever;  // one bit of the destination is flipped, and the status is ok
    uint32_t fail_one_in = 0;        // each read fails like fail_read with this chance; 0: none
    uint32_t shorten_one_in = 0;     // each read is shortened like shorten_read with this chance; 0: none
    bool reorder = false;            // completions are delivered in random order
    size_t hold_back = 0;            // nothing is delivered until so many completions are there, or no more can come
};

// Keeps the contract of AsyncReader otherwise, so it is thread-safe. Lock order: this reader's mutex, then the inner
// one's.
class FaultyReader final : public AsyncReader {
public:
    FaultyReader(std::unique_ptr<AsyncReader> inner, FaultPlan plan)
        : plan_(plan), random_(plan.seed), inner_(std::move(inner)) {}

    void prepare(const std::vector<std::shared_ptr<const File>> & files, std::byte * memory, size_t bytes) override {
        inner_->prepare(files, memory, bytes);
    }

    void submit(const std::vector<ReadRequest> & requests) override {
        const std::lock_guard<std::mutex> lock(mutex_);
        for (const ReadRequest & request : requests) {
            const uint64_t number = n_submitted_++;
            const auto by_chance = [this](uint32_t one_in) { return one_in != 0 && random_() % one_in == 0; };
            const bool fails = by_chance(plan_.fail_one_in) || number == plan_.fail_read;
            const bool is_short = by_chance(plan_.shorten_one_in) || number == plan_.shorten_read;
            in_flight_[request.id] = {request, number, fails, is_short};
        }
        n_undelivered_ += requests.size();
        inner_->submit(requests);
    }

    size_t reap(std::vector<ReadCompletion> * completions) override {
        const std::lock_guard<std::mutex> lock(mutex_);
        std::vector<ReadCompletion> arrived;
        inner_->reap(&arrived);
        hold(&arrived);
        return deliver(completions);
    }

    size_t wait(std::vector<ReadCompletion> * completions) override {
        std::unique_lock<std::mutex> lock(mutex_);
        while (n_undelivered_ > 0) {
            if (const size_t n = deliver(completions)) {
                return n;
            }
            if (waits_inside_) {
                changed_.wait(lock);
                continue;
            }
            waits_inside_ = true;
            lock.unlock();
            std::vector<ReadCompletion> arrived;
            inner_->wait(&arrived);
            lock.lock();
            waits_inside_ = false;
            hold(&arrived);
            changed_.notify_all();
        }
        return 0;
    }

    void cancel(uint64_t id) override { inner_->cancel(id); }
    void promote(uint64_t id) override { inner_->promote(id); }
    const char * name() const override { return inner_->name(); }

    uint64_t n_submitted() const {
        const std::lock_guard<std::mutex> lock(mutex_);
        return n_submitted_;
    }

private:
    struct Tracked {
        ReadRequest request;
        uint64_t number = 0;
        bool fails = false;
        bool is_short = false;
    };

    // Everything below REQUIRES: mutex_ is held.

    void hold(std::vector<ReadCompletion> * arrived) {
        for (ReadCompletion & completion : *arrived) {
            const auto found = in_flight_.find(completion.id);
            spoil(found->second, &completion);
            in_flight_.erase(found);
            held_.push_back(std::move(completion));
        }
    }

    void spoil(const Tracked & read, ReadCompletion * completion) {
        if (!completion->status.is_ok()) {
            return;  // failed or cancelled by itself
        }
        const ReadRequest & request = read.request;
        if (read.fails) {
            completion->status = Status(StatusCode::kIo, request.file->path() + ": read of " +
                                                             std::to_string(request.bytes) + " bytes at offset " +
                                                             std::to_string(request.offset) + ": Input/output error");
            completion->bytes_read = 0;
        } else if (read.is_short) {
            completion->bytes_read -= std::min(completion->bytes_read, plan_.shorten_by_bytes);
        } else if (read.number == plan_.corrupt_read && completion->bytes_read > 0) {
            request.destination[random_() % completion->bytes_read] ^= std::byte{1} << (random_() % 8);
        }
    }

    size_t deliver(std::vector<ReadCompletion> * completions) {
        if (held_.size() < plan_.hold_back && !in_flight_.empty()) {
            return 0;
        }
        if (plan_.reorder) {
            std::shuffle(held_.begin(), held_.end(), random_);
        }
        const size_t n = held_.size();
        std::move(held_.begin(), held_.end(), std::back_inserter(*completions));
        held_.clear();
        n_undelivered_ -= n;
        if (n_undelivered_ == 0) {
            changed_.notify_all();
        }
        return n;
    }

    const FaultPlan plan_;
    mutable std::mutex mutex_;
    std::condition_variable changed_;                  // something is held, waits_inside_ ended, or all was delivered
    std::mt19937_64 random_;                           // this and all below guarded by mutex_
    std::unordered_map<uint64_t, Tracked> in_flight_;  // inside inner_, by id
    std::vector<ReadCompletion> held_;                 // came from inner_, not delivered
    uint64_t n_submitted_ = 0;
    size_t n_undelivered_ = 0;
    bool waits_inside_ = false;           // a thread is in inner_->wait() without mutex_
    std::unique_ptr<AsyncReader> inner_;  // last: its destructor waits for reads
};

}  // namespace edgemoe::test
