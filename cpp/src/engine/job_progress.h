// How far a long job is.
#pragma once

#include <chrono>
#include <functional>

namespace edgemoe {

// `step` names what is being done ("evaluating"); `fraction` of that step, from 0 to 1, is done, and it takes about
// `seconds_left` more (negative: not known yet). False stops the job, which then ends with kCancelled. Called from the
// thread that runs the job.
using JobProgress = std::function<bool(const char * step, double fraction, double seconds_left)>;

// Reports one step. One thread at a time.
class ProgressMeter {
public:
    // `progress` (may be empty) outlives it. `first_fraction`: what was done before, by an earlier run.
    ProgressMeter(const JobProgress & progress, const char * step, double first_fraction = 0);

    // Both return false once the job is to stop. poll() repeats the last report if it is a while ago: for the inside of
    // long computations.
    bool report(double fraction);
    bool poll();

private:
    using Clock = std::chrono::steady_clock;

    const JobProgress & progress_;
    const char * step_;
    double first_fraction_;
    double fraction_;
    bool goes_on_ = true;
    Clock::time_point start_ = Clock::now();
    Clock::time_point last_call_ = start_;
};

}  // namespace edgemoe
