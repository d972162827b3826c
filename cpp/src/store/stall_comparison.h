// Does computation wait less with reads ahead? Passes over the layers are made either way in turns, and what they
// stalled is compared. Not thread-safe.
#pragma once

#include "store/prefetch_settings.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

namespace edgemoe {

class StallComparison {
public:
    // `alternates`: false: all passes are made with reads ahead.
    explicit StallComparison(bool alternates) : alternates_(alternates) {}

    // A pass of one token has ended, or (counts = false) one that says nothing.
    void end_pass(double stall_seconds, bool counts) {
        if (counts) {
            Way & way = ways_[reads_ahead() ? 1 : 0];
            way.n_passes++;
            way.stall_seconds += stall_seconds;
            if (position_ != 0 && position_ != prefetch::kTrialPasses) {
                way.n_samples++;
                const double weight = std::max(1.0 / static_cast<double>(way.n_samples), prefetch::kLeastWeight);
                way.mean += weight * (stall_seconds - way.mean);
            }
        }
        position_ = (position_ + 1) % prefetch::kTrialPeriod;
        if (position_ == prefetch::kTrialPasses) {
            decide();
        }
    }

    // The way of the present pass.
    bool reads_ahead() const { return !alternates_ || (position_ < prefetch::kTrialPasses) != prefers_ahead_; }
    // The way of most passes.
    bool prefers_ahead() const { return prefers_ahead_; }

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
        const Way & now = way(prefers_ahead_);
        const Way & other = way(!prefers_ahead_);
        if (std::min(now.n_samples, other.n_samples) >= prefetch::kLeastSamples &&
            other.mean < now.mean * prefetch::kMargin) {
            prefers_ahead_ = !prefers_ahead_;
        }
    }

    bool alternates_;
    std::array<Way, 2> ways_{};  // without, with
    bool prefers_ahead_ = true;
    int32_t position_ = prefetch::kTrialPasses;  // of the present pass in its period
};

}  // namespace edgemoe
