// Long calls that report the fraction done to a Python function and can be stopped by it, or by Ctrl-C.
#pragma once

#include "interruptible.h"

#include <pybind11/pybind11.h>

#include <atomic>
#include <functional>

namespace edgemoe::bindings {

// Runs `work` on another thread and gives it a function to call with fractions; `progress` (a Python callable or None)
// sees them on the calling thread, and stops the work by returning False. Throws as run_interruptible does.
inline void run_with_progress(const pybind11::object & progress,
                              const std::function<void(const std::function<bool(float)> &)> & work) {
    std::atomic<float> fraction{0.0F};
    std::atomic<bool> stop{false};
    float reported = -1.0F;
    const auto report = [&] {
        const float now = fraction;
        if (!progress.is_none() && now != reported) {
            reported = now;
            stop = stop || progress(now).is(pybind11::bool_(false));
        }
    };
    run_interruptible(
        [&] {
            work([&](float now) {
                fraction = now;
                return !stop.load();
            });
        },
        [&] { stop = true; }, report);
    report();
}

}  // namespace edgemoe::bindings
