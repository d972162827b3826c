#include "store/pass_comparison.h"

#include <algorithm>
#include <cmath>

namespace edgemoe {

// Weighted incrementally (West 1979).
void PassComparison::Mean::add(double sample) {
    n_samples++;
    const double weight = 1 / n_samples;
    const double distance = sample - value;
    value += weight * distance;
    variance = (1 - weight) * (variance + weight * distance * distance);
}

// Of the difference of both.
double PassComparison::error(const Mean & a, const Mean & b) {
    return std::sqrt(a.variance / a.n_samples + b.variance / b.n_samples);
}

void PassComparison::end_pass(double seconds, double stall_seconds, bool counts) {
    if (!counts) {
        return;
    }
    Way & way = ways_[reads_ahead() ? 1 : 0];
    way.n_passes++;
    way.stall_seconds += stall_seconds;
    if (is_settled_) {
        way.seconds.add(seconds);
        part_.measured.add(seconds);
    }
    part_.seconds += seconds;
    is_settled_ = is_settled_ || part_.seconds >= prefetch::kUnsettledSeconds;
    if (part_.measured.n_samples < prefetch::kTrialPasses ||
        (part_.seconds < prefetch::kTrialSeconds && !is_trial_lost())) {
        return;
    }
    part_ = {};
    parts_left_--;
    const bool are_both_known = ways_[0].n_passes > 0 && ways_[1].n_passes > 0;
    if (are_both_known && (is_trial_ || stretch_ == 0)) {
        decide();
    } else if (is_trial_) {
        begin_turn(false, 1);
    } else if (parts_left_ <= 0 || is_wrong_way()) {
        begin_turn(true, 1);
    }
    ways_[reads_ahead() ? 1 : 0].seconds.n_samples *= prefetch::kRemembered;
}

// What is tried is so much worse that the rest of the trial would be a waste.
bool PassComparison::is_trial_lost() const {
    const Mean & preferred = ways_[prefers_ahead_ ? 1 : 0].seconds;
    return is_trial_ && preferred.n_samples > 0 &&
           part_.measured.value - prefetch::kErrorsToGiveUp * error(part_.measured, preferred) > preferred.value;
}

// What is preferred is worse than the other way, by more than chance makes.
bool PassComparison::is_wrong_way() const {
    const Mean & without = ways_[0].seconds;
    const Mean & ahead = ways_[1].seconds;
    const double chance = prefetch::kErrors * error(ahead, without);
    if (prefers_ahead_) {
        return ahead.value - chance > prefetch::kMostToGoOn * without.value;
    }
    return ahead.value + chance <= without.value && ahead.value <= prefetch::kMostToBegin * without.value;
}

// Both ways have just been measured.
void PassComparison::decide() {
    const bool changes = is_wrong_way();
    prefers_ahead_ = prefers_ahead_ != changes;
    stretch_ = changes ? prefetch::kFirstStretch
                       : std::clamp(2 * stretch_, prefetch::kFirstStretch, prefetch::kLongestStretch);
    begin_turn(false, stretch_);
}

void PassComparison::begin_turn(bool is_trial, int32_t n_parts) {
    is_trial_ = is_trial;
    is_settled_ = false;
    parts_left_ = n_parts;
}

}  // namespace edgemoe
