#include "engine/job_progress.h"

namespace edgemoe {

namespace {

constexpr std::chrono::milliseconds kPollPeriod{100};

}  // namespace

ProgressMeter::ProgressMeter(const JobProgress & progress, const char * step, double first_fraction)
    : progress_(progress), step_(step), first_fraction_(first_fraction), fraction_(first_fraction) {}

bool ProgressMeter::report(double fraction) {
    fraction_ = fraction;
    last_call_ = Clock::now();
    if (goes_on_ && progress_) {
        const double seconds = std::chrono::duration<double>(last_call_ - start_).count();
        const double done = fraction - first_fraction_;
        goes_on_ = progress_(step_, fraction, done > 0 ? seconds * (1 - fraction) / done : -1.0);
    }
    return goes_on_;
}

bool ProgressMeter::poll() {
    return Clock::now() - last_call_ < kPollPeriod ? goes_on_ : report(fraction_);
}

}  // namespace edgemoe
