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

void PassComparison::Difference::add(const Mean & ahead, const Mean & without) {
    // Of the smaller mean: a pass that was disturbed makes its mean larger, and its error no smaller for that.
    const double least = std::min(ahead.value, without.value);
    const double squared_error = (ahead.squared_error() + without.squared_error()) / (least * least);
    const double sample_precision = 1 / (squared_error + prefetch::kLeastError * prefetch::kLeastError);
    precision = prefetch::kRemembered * precision + sample_precision;
    log_ratio += sample_precision / precision * (std::log(ahead.value / without.value) - log_ratio);
}

void PassComparison::end_pass(double seconds, double stall_seconds, bool counts) {
    if (!counts) {
        unsettled_seconds_ = 0;  // a prompt has changed the cache, and what a throttle allows
        return;
    }
    present().n_passes++;
    present().stall_seconds += stall_seconds;
    part_.seconds += seconds;
    if (unsettled_seconds_ < prefetch::kUnsettledSeconds) {
        unsettled_seconds_ += seconds;
    } else if (seconds > 0) {
        present().seconds.add(seconds);
        part_.n_measured++;
    }
    if (alternates_ && is_part_over()) {
        end_part();
    }
}

bool PassComparison::is_part_over() const {
    if (part_.n_measured >= prefetch::kTrialPasses && part_.seconds >= prefetch::kTrialSeconds) {
        return true;
    }
    // A trial that is so much worse is lost.
    return is_trial_ && stretch_ > 0 && part_.n_measured >= prefetch::kLeastTrialPasses &&
           part_.seconds >= prefetch::kLeastTrialSeconds && is_worse(other(), preferred(), prefetch::kErrorsToGiveUp);
}

// `a` takes longer, by more than `n_errors` standard errors.
bool PassComparison::is_worse(const Mean & a, const Mean & b, double n_errors) {
    return a.value - b.value > n_errors * std::sqrt(a.squared_error() + b.squared_error());
}

void PassComparison::end_part() {
    part_ = {};
    parts_left_--;
    const bool is_first_round = stretch_ == 0;
    if (is_first_round && is_trial_) {
        begin_turn(false, 1);
    } else if (is_first_round || is_trial_) {
        difference_.add(way(true).seconds, way(false).seconds);
        decide();
    } else if (parts_left_ <= 0 || is_worse(preferred(), other(), prefetch::kErrors)) {
        begin_turn(true, 1);
    }
    present().seconds.n_samples *= prefetch::kRemembered;
}

// Both ways have just been measured.
void PassComparison::decide() {
    const double chance = prefetch::kErrors / std::sqrt(difference_.precision);
    const double ratio = difference_.log_ratio;
    const double most = std::log(prefers_ahead_ ? prefetch::kMostToGoOn : prefetch::kMostToBegin);
    const bool changes = prefers_ahead_ ? ratio - chance > most : ratio + chance <= 0 && ratio <= most;
    const bool is_sure = prefers_ahead_ ? ratio + chance <= most : ratio - chance > most;
    prefers_ahead_ = prefers_ahead_ != changes;
    if (changes) {
        stretch_ = prefetch::kFirstStretch;
    } else if (is_sure) {
        stretch_ = std::clamp(prefetch::kGrowth * stretch_, prefetch::kFirstStretch, prefetch::kLongestStretch);
    } else {
        stretch_ = std::clamp(2 * stretch_, 1, prefetch::kFirstStretch);
    }
    begin_turn(false, stretch_);
}

void PassComparison::begin_turn(bool is_trial, int32_t n_parts) {
    is_trial_ = is_trial;
    unsettled_seconds_ = 0;
    parts_left_ = n_parts;
    if (is_trial_) {
        present().seconds = {};
    }
}

}  // namespace edgemoe
