#include "engine/parallel_work.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace edgemoe {

namespace {

constexpr std::chrono::milliseconds kReportPeriod{200};

// Where the threads meet. All fields are guarded by mutex.
struct Progress {
    std::mutex mutex;
    std::condition_variable changed;
    size_t next = 0;
    size_t n_done = 0;
    int n_running = 0;
    Status failure;
};

// An exception, of which memory running out is the one to expect, may not leave a thread.
Status run_piece(const std::function<Status(size_t, int)> & work, size_t index, int thread) {
    try {
        return work(index, thread);
    } catch (const std::bad_alloc &) {
        return Status(StatusCode::kOutOfBudget, "out of memory");
    } catch (const std::exception & exception) {
        return Status(StatusCode::kInternal, exception.what());
    }
}

}  // namespace

Status run_in_parallel(size_t n, int n_threads, const std::function<Status(size_t index, int thread)> & work,
                       const std::function<bool(size_t n_done)> & progress) {
    Progress shared;
    const auto run = [&](int thread) {
        std::unique_lock<std::mutex> lock(shared.mutex);
        while (shared.failure.is_ok() && shared.next < n) {
            const size_t index = shared.next++;
            lock.unlock();
            Status status = run_piece(work, index, thread);
            lock.lock();
            shared.n_done++;
            if (!status.is_ok() && shared.failure.is_ok()) {
                shared.failure = status;
            }
        }
        shared.n_running--;
        shared.changed.notify_all();
    };
    const int n_workers = static_cast<int>(std::min<size_t>(static_cast<size_t>(std::max(1, n_threads)), n));
    shared.n_running = n_workers;
    std::vector<std::thread> threads;
    for (int thread = 0; thread < n_workers; thread++) {
        threads.emplace_back(run, thread);
    }
    {
        std::unique_lock<std::mutex> lock(shared.mutex);
        while (!shared.changed.wait_for(lock, kReportPeriod, [&] { return shared.n_running == 0; })) {
            const size_t n_done = shared.n_done;
            lock.unlock();
            const bool goes_on = !progress || progress(n_done);
            lock.lock();
            if (!goes_on && shared.failure.is_ok()) {
                shared.failure = Status(StatusCode::kCancelled, "cancelled");
            }
        }
    }
    for (std::thread & thread : threads) {
        thread.join();
    }
    if (shared.failure.is_ok() && progress && !progress(n)) {
        return Status(StatusCode::kCancelled, "cancelled");
    }
    return shared.failure;
}

}  // namespace edgemoe
