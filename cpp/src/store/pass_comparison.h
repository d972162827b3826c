// Are the layers' experts computed sooner with reads ahead? Passes over the layers are made either way in turns, and
// what they took is compared. Not thread-safe.
#pragma once

#include "store/prefetch_settings.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

namespace edgemoe {

class PassComparison {
public:
    // `alternates`: false: all passes are made with reads ahead.
    explicit PassComparison(bool alternates) : alternates_(alternates) {}

    // A pass of one token has ended, or (counts = false) one that says nothing. `seconds`: that its layers of experts
    // took; `stall_seconds`: of these, waiting for reads.
    void end_pass(double seconds, double stall_seconds, bool counts) {
        if (!counts) {
            return;
        }
        Way & way = ways_[reads_ahead() ? 1 : 0];
        way.n_passes++;
        way.stall_seconds += stall_seconds;
        if (turn_.n_passes > 0 && turn_.seconds >= prefetch::kUnsettledSeconds) {
            way.n_samples++;
            const double weight = std::max(1.0 / static_cast<double>(way.n_samples), prefetch::kLeastWeight);
            way.mean += weight * (seconds - way.mean);
        }
        turn_.n_passes++;
        turn_.seconds += seconds;
        if (turn_.n_passes < n_least_passes_ || turn_.seconds < prefetch::kTrialSeconds) {
            return;
        }
        if (is_trial_) {
            n_least_passes_ = stretch_ * turn_.n_passes;
        } else {
            n_least_passes_ = prefetch::kTrialPasses;
            decide();
        }
        is_trial_ = !is_trial_;
        turn_ = {};
    }

    // The way of the present pass.
    bool reads_ahead() const { return !alternates_ || is_trial_ != prefers_ahead_; }
    // The way of most passes.
    bool prefers_ahead() const { return !alternates_ || prefers_ahead_; }

    // Passes of one token, and what they stalled in all: with reads ahead, and without.
    uint64_t n_passes(bool ahead) const { return way(ahead).n_passes; }
    double stall_seconds(bool ahead) const { return way(ahead).stall_seconds; }

private:
    struct Way {
        uint64_t n_passes = 0;
        double stall_seconds = 0;
        int64_t n_samples = 0;
        double mean = 0;
    };

    struct Turn {
        int64_t n_passes = 0;
        double seconds = 0;
    };

    const Way & way(bool ahead) const { return ways_[ahead ? 1 : 0]; }

    // A trial and the stretch after it are over.
    void decide() {
        const double most = (prefers_ahead_ ? prefetch::kMostToGoOn : prefetch::kMostToBegin) * way(false).mean;
        const bool changes = prefers_ahead_ != (way(true).mean <= most);
        prefers_ahead_ = prefers_ahead_ != changes;
        stretch_ = changes ? prefetch::kFirstStretch
                           : std::clamp(2 * stretch_, prefetch::kFirstStretch, prefetch::kLongestStretch);
    }

    bool alternates_;
    std::array<Way, 2> ways_{};  // without, with
    bool prefers_ahead_ = false;
    bool is_trial_ = true;
    Turn turn_;
    int64_t n_least_passes_ = prefetch::kTrialPasses;  // of the present turn
    int32_t stretch_ = 1;                              // how many times as long as the trial
};

}  // namespace edgemoe
