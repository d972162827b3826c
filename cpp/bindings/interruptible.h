// Long calls that Ctrl-C can end. Python runs signal handlers only on its main thread and only while that thread is in
// the interpreter, so the long call runs on another thread while the caller, without the GIL, waits and looks for
// signals every kSignalPeriod.
#pragma once

#include <pybind11/pybind11.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <functional>
#include <mutex>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>

namespace edgemoe::bindings {

inline constexpr std::chrono::milliseconds kSignalPeriod{50};

// Takes the GIL, runs Python's signal handlers, then `poll` (may be empty). Returns what either raised.
// REQUIRES: the calling thread has released the GIL.
inline std::optional<pybind11::error_already_set> look_for_signals(const std::function<void()> & poll = {}) {
    const pybind11::gil_scoped_acquire acquired;
    if (PyErr_CheckSignals() != 0) {
        return pybind11::error_already_set();
    }
    if (poll) {
        try {
            poll();
        } catch (pybind11::error_already_set & raised) {
            return std::move(raised);
        }
    }
    return std::nullopt;
}

// A thread for long calls, begun with the first and kept for the next: beginning one takes as long as a layer of a
// small model. Thread-safe; calls come one after the other. REQUIRES: it is not destroyed during a call.
class CallThread {
public:
    CallThread() = default;
    CallThread(const CallThread &) = delete;
    CallThread & operator=(const CallThread &) = delete;
    CallThread(CallThread &&) = delete;
    CallThread & operator=(CallThread &&) = delete;
    ~CallThread() {
        {
            const std::lock_guard<std::mutex> lock(mutex_);
            is_over_ = true;
        }
        changed_.notify_all();
        if (thread_.joinable()) {
            thread_.join();
        }
    }

    // Runs `work` on the thread until it returns; throws what it throws. When a signal handler or `poll` raises, calls
    // `cancel` until `work` has ended, or gives up its turn if that has not come, and throws what was raised. `poll` is
    // called with the GIL on the calling thread; `work` and `cancel` are called without it and may not touch Python
    // objects. REQUIRES: the caller holds the GIL.
    void run(const std::function<void()> & work, const std::function<void()> & cancel,
             const std::function<void()> & poll = {}) {
        if (caller_ == std::this_thread::get_id()) {  // from a signal handler or `poll` of a call
            CallThread().run(work, cancel, poll);
            return;
        }
        std::optional<pybind11::error_already_set> raised;
        std::exception_ptr failure;
        {
            const pybind11::gil_scoped_release released;
            std::unique_lock<std::timed_mutex> turn(turns_, std::defer_lock);
            while (!raised && !turn.try_lock_for(kSignalPeriod)) {
                raised = look_for_signals(poll);
            }
            if (turn.owns_lock()) {
                caller_ = std::this_thread::get_id();
                failure = call(work, cancel, poll, &raised);
                caller_ = std::thread::id();
            }
        }
        if (raised) {
            throw std::move(*raised);
        }
        if (failure) {
            std::rethrow_exception(failure);
        }
    }

private:
    // What `work` threw. Without the GIL, with turns_.
    std::exception_ptr call(const std::function<void()> & work, const std::function<void()> & cancel,
                            const std::function<void()> & poll, std::optional<pybind11::error_already_set> * raised) {
        std::unique_lock<std::mutex> lock(mutex_);
        if (!thread_.joinable()) {
            try {
                thread_ = std::thread([this] { serve(); });
            } catch (const std::system_error &) {  // no thread is to be had
                return std::current_exception();
            }
        }
        work_ = &work;
        changed_.notify_all();
        while (!changed_.wait_for(lock, kSignalPeriod, [&] { return work_ == nullptr; })) {
            lock.unlock();
            if (!*raised) {
                *raised = look_for_signals(poll);
            }
            // Again and again: the call may not have begun to listen when the first request came.
            if (*raised) {
                cancel();
            }
            lock.lock();
        }
        return std::exchange(failure_, nullptr);
    }

    void serve() {
        std::unique_lock<std::mutex> lock(mutex_);
        while (true) {
            changed_.wait(lock, [&] { return work_ != nullptr || is_over_; });
            if (work_ == nullptr) {
                return;
            }
            lock.unlock();
            std::exception_ptr failure;
            try {
                (*work_)();
            } catch (...) {
                failure = std::current_exception();
            }
            lock.lock();
            failure_ = std::move(failure);
            work_ = nullptr;
            changed_.notify_all();
        }
    }

    std::timed_mutex turns_;                 // held during a call
    std::atomic<std::thread::id> caller_{};  // who has turns_, if anybody has
    std::mutex mutex_;
    std::condition_variable changed_;               // work_ or is_over_
    const std::function<void()> * work_ = nullptr;  // nullptr: no call, or it has ended
    std::exception_ptr failure_;
    bool is_over_ = false;
    std::thread thread_;  // last: it uses all of the above
};

}  // namespace edgemoe::bindings
