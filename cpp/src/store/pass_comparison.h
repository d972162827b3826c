// Are the layers' experts computed sooner with reads ahead? Passes over the layers are made either way in turns, and
// what they took is compared. Not thread-safe.
#pragma once

#include "store/prefetch_settings.h"

#include <array>
#include <cstdint>

namespace edgemoe {

class PassComparison {
public:
    // `alternates`: false: all passes are made with reads ahead.
    explicit PassComparison(bool alternates) : alternates_(alternates) {}

    // A pass of one token has ended, or (counts = false) one that says nothing. `seconds`: that its layers of experts
    // took; `stall_seconds`: of these, waiting for reads.
    void end_pass(double seconds, double stall_seconds, bool counts);

    // The way of the present pass.
    bool reads_ahead() const { return !alternates_ || is_trial_ != prefers_ahead_; }
    // The way of most passes.
    bool prefers_ahead() const { return !alternates_ || prefers_ahead_; }

    // Passes of one token, and what they stalled in all: with reads ahead, and without.
    uint64_t n_passes(bool ahead) const { return way(ahead).n_passes; }
    double stall_seconds(bool ahead) const { return way(ahead).stall_seconds; }

private:
    // Seconds of passes.
    struct Mean {
        double n_samples = 0;  // what all of them count as: earlier ones fade
        double value = 0;
        double variance = 0;  // of the samples

        void add(double sample);
        double squared_error() const { return variance / n_samples; }
    };

    struct Way {
        uint64_t n_passes = 0;
        double stall_seconds = 0;
        Mean seconds;  // of its latest turn, and of the stretch before where it is preferred
    };

    // Of a turn: as long as a trial.
    struct Part {
        int32_t n_measured = 0;
        double seconds = 0;
    };

    // How much longer layers take with reads ahead than without, by all trials: each against the stretch before it, so
    // that what makes both slower makes no difference.
    struct Difference {
        double precision = 0;  // 1 / its squared standard error
        double log_ratio = 0;

        void add(const Mean & ahead, const Mean & without);
    };

    const Way & way(bool ahead) const { return ways_[ahead ? 1 : 0]; }
    Way & present() { return ways_[reads_ahead() ? 1 : 0]; }
    const Mean & preferred() const { return way(prefers_ahead_).seconds; }
    const Mean & other() const { return way(!prefers_ahead_).seconds; }
    static bool is_worse(const Mean & a, const Mean & b, double n_errors);
    bool is_part_over() const;
    void end_part();
    void decide();
    void begin_turn(bool is_trial, int32_t n_parts);

    bool alternates_;
    std::array<Way, 2> ways_{};  // without, with
    bool prefers_ahead_ = false;
    Difference difference_;
    bool is_trial_ = true;          // the present turn
    double unsettled_seconds_ = 0;  // of its beginning
    Part part_;                     // the present one of the turn
    int32_t parts_left_ = 1;
    int32_t stretch_ = 0;  // parts of the latest stretch that a decision began; 0: none did
};

}  // namespace edgemoe
