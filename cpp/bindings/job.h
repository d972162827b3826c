// Jobs of edgemoe.hpp on a thread of their own, with a Python function for their progress.
#pragma once

#include "interruptible.h"
#include "register.h"

#include <atomic>
#include <functional>
#include <mutex>
#include <string>
#include <utility>

namespace edgemoe::bindings {

// Runs `work` with a callback for its progress. Every kSignalPeriod, `progress` (None: nothing) is called on the
// calling thread with (step, fraction, seconds_left or None), if they changed; False, an exception or Ctrl-C stop the
// job.
inline void run_job(const std::function<void(const client::JobProgress &)> & work, const pybind11::object & progress) {
    namespace py = pybind11;
    struct Report {
        std::string step;
        double fraction = -1, seconds_left = -1;
    };
    std::mutex mutex;
    Report latest, reported;  // latest: guarded by mutex
    std::atomic<bool> stop{false};
    const auto report = [&] {
        Report now;
        {
            const std::lock_guard<std::mutex> lock(mutex);
            now = latest;
        }
        if (progress.is_none() || now.fraction < 0 ||
            (now.step == reported.step && now.fraction == reported.fraction)) {
            return;
        }
        reported = now;
        const py::object left = now.seconds_left < 0 ? py::object(py::none()) : py::float_(now.seconds_left);
        stop = stop || progress(to_str(now.step), now.fraction, left).is(py::bool_(false));
    };
    CallThread().run(
        [&] {
            work([&](const char * step, double fraction, double seconds_left) {
                const std::lock_guard<std::mutex> lock(mutex);
                latest = {step, fraction, seconds_left};
                return !stop.load();
            });
        },
        [&] { stop = true; }, report);
    report();
}

}  // namespace edgemoe::bindings
