// A reader without threads, whose completions come when and in the order that a test says.
#pragma once

#include "storage/async_reader.h"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace edgemoe::test {

// Thread-safe. Reads in flight are delivered, oldest first, one a call: by reap() only as many as allow() permits, by
// wait() always, so that a caller who may block never hangs.
class FakeReader final : public AsyncReader {
public:
    void submit(const std::vector<ReadRequest> & requests) override {
        const std::lock_guard<std::mutex> lock(mutex_);
        in_flight_.insert(in_flight_.end(), requests.begin(), requests.end());
        n_submitted_ += requests.size();
    }

    size_t reap(std::vector<ReadCompletion> * completions) override {
        const std::lock_guard<std::mutex> lock(mutex_);
        if (!cancelled_.empty()) {
            return deliver(completions);
        }
        if (n_allowed_ == 0 || in_flight_.empty()) {
            return 0;
        }
        n_allowed_--;
        return deliver(completions);
    }

    size_t wait(std::vector<ReadCompletion> * completions) override {
        const std::lock_guard<std::mutex> lock(mutex_);
        return in_flight_.empty() && cancelled_.empty() ? 0 : deliver(completions);
    }

    // Reads behind the first n_startable() in flight have not been started: those end as cancelled, before all others.
    void cancel(uint64_t id) override {
        const std::lock_guard<std::mutex> lock(mutex_);
        for (size_t i = n_startable_; i < in_flight_.size(); ++i) {
            if (in_flight_[i].id == id) {
                const ReadRequest request = in_flight_[i];
                in_flight_.erase(in_flight_.begin() + static_cast<std::ptrdiff_t>(i));
                cancelled_.push_back(request);
                return;
            }
        }
    }
    void promote(uint64_t) override {
        const std::lock_guard<std::mutex> lock(mutex_);
        n_promoted_++;
    }
    const char * name() const override { return "fake"; }

    // The test's side.
    void allow(size_t n) { set(&n_allowed_, n); }
    void fail_next(size_t n) { set(&n_to_fail_, n); }
    void start_at_most(size_t n) { set(&n_startable_, n); }
    size_t n_ahead() const {
        const std::lock_guard<std::mutex> lock(mutex_);
        size_t n = 0;
        for (const ReadRequest & request : in_flight_) {
            n += request.priority == ReadPriority::kPrefetch ? 1 : 0;
        }
        return n;
    }
    uint64_t n_promoted() const {
        const std::lock_guard<std::mutex> lock(mutex_);
        return n_promoted_;
    }
    size_t n_in_flight() const {
        const std::lock_guard<std::mutex> lock(mutex_);
        return in_flight_.size();
    }
    uint64_t n_submitted() const {
        const std::lock_guard<std::mutex> lock(mutex_);
        return n_submitted_;
    }

private:
    void set(size_t * field, size_t value) {
        const std::lock_guard<std::mutex> lock(mutex_);
        *field = value;
    }

    // REQUIRES: mutex_ is held, something is in flight.
    size_t deliver(std::vector<ReadCompletion> * completions) {
        std::deque<ReadRequest> & from = cancelled_.empty() ? in_flight_ : cancelled_;
        const ReadRequest request = from.front();
        const bool is_cancelled = &from == &cancelled_;
        from.pop_front();
        ReadCompletion completion;
        completion.id = request.id;
        if (is_cancelled) {
            completion.status = Status(StatusCode::kCancelled, "cancelled");
        } else if (n_to_fail_ > 0) {
            n_to_fail_--;
            completion.status = Status(StatusCode::kIo, request.file->path() + ": offset " +
                                                            std::to_string(request.offset) + ": Input/output error");
        } else {
            const uint64_t left = request.file->size_bytes() - request.offset;
            completion.bytes_read = left < request.bytes ? static_cast<size_t>(left) : request.bytes;
            completion.status = request.file->read(request.offset, completion.bytes_read, request.destination);
        }
        completions->push_back(std::move(completion));
        return 1;
    }

    mutable std::mutex mutex_;
    std::deque<ReadRequest> in_flight_;  // this and all below guarded by mutex_
    std::deque<ReadRequest> cancelled_;
    size_t n_startable_ = SIZE_MAX;
    uint64_t n_promoted_ = 0;
    size_t n_allowed_ = 0;
    size_t n_to_fail_ = 0;
    uint64_t n_submitted_ = 0;
};

}  // namespace edgemoe::test
