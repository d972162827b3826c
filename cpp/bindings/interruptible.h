// Long calls that Ctrl-C can end. Python runs signal handlers only on its main thread and only while that thread is in
// the interpreter, so the long call runs on a thread of its own while the caller, without the GIL, waits and looks for
// signals every kSignalPeriod.
#pragma once

#include <pybind11/pybind11.h>

#include <chrono>
#include <condition_variable>
#include <exception>
#include <functional>
#include <mutex>
#include <optional>
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

// Runs `work` on another thread until it returns; throws what it throws. When a signal handler or `poll` raises, calls
// `cancel` until `work` has ended, then throws what was raised. `poll` is called with the GIL on the calling thread;
// `work` and `cancel` are called without it and may not touch Python objects. REQUIRES: the caller holds the GIL.
inline void run_interruptible(const std::function<void()> & work, const std::function<void()> & cancel,
                              const std::function<void()> & poll = {}) {
    std::optional<pybind11::error_already_set> raised;
    std::exception_ptr failure;
    {
        const pybind11::gil_scoped_release released;
        std::mutex mutex;
        std::condition_variable ended;
        bool is_done = false;
        std::thread worker([&] {
            try {
                work();
            } catch (...) {
                failure = std::current_exception();
            }
            const std::lock_guard<std::mutex> lock(mutex);
            is_done = true;
            ended.notify_one();
        });
        std::unique_lock<std::mutex> lock(mutex);
        while (!ended.wait_for(lock, kSignalPeriod, [&] { return is_done; })) {
            lock.unlock();
            if (!raised) {
                raised = look_for_signals(poll);
            }
            // Again and again: the call may not have begun to listen when the first request came.
            if (raised) {
                cancel();
            }
            lock.lock();
        }
        lock.unlock();
        worker.join();
    }
    if (raised) {
        throw std::move(*raised);
    }
    if (failure) {
        std::rethrow_exception(failure);
    }
}

}  // namespace edgemoe::bindings
