// Invariants, under mutex_:
//   * An accepted request is in exactly one place: queued_, in the hands of one lane, or (as a completion)
//   completions_.
//   * n_undelivered_ counts the requests in those places, so it is zero only when nothing is in flight.
//   * A lane sleeps only while queued_ is empty; a thread in wait() only while completions_ is empty and
//     n_undelivered_ is not zero. Who changes one of these wakes the sleepers concerned.
// No lock is held during a read.
#include "storage/lane_reader.h"

#include "storage/read_progress.h"
#include "storage/read_queues.h"

#include <algorithm>
#include <condition_variable>
#include <iterator>
#include <memory>
#include <mutex>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>

namespace edgemoe {
namespace {

class LaneReader final : public AsyncReader {
public:
    LaneReader(int n_lanes, const char * name, BlockingRead read) : name_(name), read_(read) {
        lanes_.reserve(static_cast<size_t>(n_lanes));
        try {
            for (int lane = 0; lane < n_lanes; ++lane) {
                lanes_.emplace_back([this] { run_lane(); });
            }
        } catch (const std::system_error &) {
            if (lanes_.empty()) {
                throw;
            }
            // Fewer lanes are slower, not wrong.
        }
    }

    ~LaneReader() override {
        {
            const std::lock_guard<std::mutex> lock(mutex_);
            stopping_ = true;
            queued_.clear();
        }
        work_.notify_all();
        for (std::thread & lane : lanes_) {
            lane.join();
        }
    }

    void submit(const std::vector<ReadRequest> & requests) override {
        {
            const std::lock_guard<std::mutex> lock(mutex_);
            for (const ReadRequest & request : requests) {
                queued_.push(request);
            }
            n_undelivered_ += requests.size();
        }
        for (size_t n = std::min(requests.size(), lanes_.size()); n > 0; --n) {
            work_.notify_one();
        }
    }

    size_t reap(std::vector<ReadCompletion> * completions) override {
        const std::lock_guard<std::mutex> lock(mutex_);
        return deliver(completions);
    }

    size_t wait(std::vector<ReadCompletion> * completions) override {
        std::unique_lock<std::mutex> lock(mutex_);
        done_.wait(lock, [this] { return !completions_.empty() || n_undelivered_ == 0; });
        return deliver(completions);
    }

    void cancel(uint64_t id) override {
        const std::lock_guard<std::mutex> lock(mutex_);
        if (const std::optional<ReadRequest> request = queued_.remove(id)) {
            completions_.push_back(cancelled_completion(*request));
            done_.notify_one();
        }
    }

    void promote(uint64_t id) override {
        const std::lock_guard<std::mutex> lock(mutex_);
        queued_.promote(id);
    }

    const char * name() const override { return name_; }

private:
    void run_lane() {
        std::unique_lock<std::mutex> lock(mutex_);
        for (;;) {
            work_.wait(lock, [this] { return stopping_ || !queued_.empty(); });
            const std::optional<ReadRequest> request = queued_.pop();
            if (!request) {
                return;  // stopping
            }
            lock.unlock();
            ReadCompletion completion = read_(*request);
            lock.lock();
            completions_.push_back(std::move(completion));
            done_.notify_one();
        }
    }

    // REQUIRES: mutex_ is held.
    size_t deliver(std::vector<ReadCompletion> * completions) {
        const size_t n = completions_.size();
        std::move(completions_.begin(), completions_.end(), std::back_inserter(*completions));
        completions_.clear();
        n_undelivered_ -= n;
        if (n_undelivered_ == 0) {
            done_.notify_all();  // nothing more will come for the others who wait
        }
        return n;
    }

    const char * name_;
    const BlockingRead read_;
    std::mutex mutex_;
    std::condition_variable work_;             // for lanes: something was queued, or stopping_
    std::condition_variable done_;             // for wait(): something completed, or all was delivered
    ReadQueues queued_;                        // guarded by mutex_
    std::vector<ReadCompletion> completions_;  // guarded by mutex_
    size_t n_undelivered_ = 0;                 // guarded by mutex_
    bool stopping_ = false;                    // guarded by mutex_
    std::vector<std::thread> lanes_;           // changed by constructor and destructor only
};

}  // namespace

std::unique_ptr<AsyncReader> make_lane_reader(int n_lanes, const char * name, BlockingRead read) {
    return std::make_unique<LaneReader>(std::max(n_lanes, 1), name, read);
}

}  // namespace edgemoe
