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
        if (counts) {
            Way & way = ways_[reads_ahead() ? 1 : 0];
            way.n_passes++;
            way.stall_seconds += stall_seconds;
            if (position_ != 0 && position_ != prefetch::kTrialPasses) {
                way.n_samples++;
                const double weight = std::max(1.0 / static_cast<double>(way.n_samples), prefetch::kLeastWeight);
                const double most = way.n_samples > 1 ? prefetch::kMostOfMean * way.mean : seconds;
                way.mean += weight * (std::min(seconds, most) - way.mean);
            }
        }
        if (++position_ == period_) {
            position_ = 0;
            decide();
        }
    }

    // The way of the present pass.
    bool reads_ahead() const { return !alternates_ || (position_ < prefetch::kTrialPasses) != prefers_ahead_; }
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

    const Way & way(bool ahead) const { return ways_[ahead ? 1 : 0]; }

    void decide() {
        const Way & ahead = way(true);
        const Way & without = way(false);
        if (std::min(ahead.n_samples, without.n_samples) < prefetch::kLeastSamples) {
            return;
        }
        const double most = (prefers_ahead_ ? prefetch::kMostToGoOn : prefetch::kMostToBegin) * without.mean;
        if (prefers_ahead_ != (ahead.mean <= most)) {
            prefers_ahead_ = !prefers_ahead_;
            period_ = prefetch::kTrialPeriod;
        } else {
            period_ = std::clamp(2 * period_, prefetch::kTrialPeriod, prefetch::kLongestTrialPeriod);
        }
    }

    bool alternates_;
    std::array<Way, 2> ways_{};  // without, with
    bool prefers_ahead_ = false;
    int32_t period_ = 2 * prefetch::kTrialPasses;
    int32_t position_ = 0;  // of the present pass in its period
};

}  // namespace edgemoe
