#include "engine/tolerance_search.h"

#include <algorithm>
#include <cmath>

namespace edgemoe {

namespace {

// Allocations that are known cost nothing, but there is an end to them.
constexpr int kMostSteps = 40;
// Where a step changed no type. 40 of the smaller one are a factor of 1e-4: a limit below that is hopeless.
constexpr double kLower = 0.8;
constexpr double kHigher = 1.5;
constexpr double kMostCorrection = 1e3;
// What the divergence may be as a power of the limit.
constexpr double kLeastPower = 0.3;
constexpr double kMostPower = 3;
// The next limit keeps this share of the interval, on a logarithmic scale, from its ends.
constexpr double kMargin = 0.1;
// Ends nearer than this have no allocation between them that is worth a measurement.
constexpr double kNear = 1.001;

}  // namespace

ToleranceSearch::ToleranceSearch(double tolerance, double closeness)
    : tolerance_(tolerance), closeness_(closeness), limit_(tolerance) {}

bool ToleranceSearch::add(double reached, bool known) {
    n_steps_++;
    n_measured_ += known ? 0 : 1;
    const bool is_met = reached <= tolerance_;
    Tried & side = is_met ? met_ : missed_;
    if (!known && side.limit > 0 && reached != side.reached) {
        power_ = std::clamp(std::log(reached / side.reached) / std::log(limit_ / side.limit), kLeastPower, kMostPower);
    }
    side = {limit_, reached};
    const bool bracketed = met_.limit > 0 && missed_.limit > 0;
    if ((is_met && reached >= closeness_ * tolerance_) || n_measured_ >= kMostMeasurements || n_steps_ >= kMostSteps ||
        (bracketed && missed_.limit < kNear * met_.limit)) {
        return false;
    }
    if (bracketed) {
        limit_ = known ? std::sqrt(met_.limit * missed_.limit) : between();
    } else if (known) {
        limit_ *= is_met ? kHigher : kLower;
    } else {
        const double aim = tolerance_ * (1 + closeness_) / 2;
        limit_ *= std::clamp(std::pow(aim / reached, 1 / power_), 1 / kMostCorrection, kMostCorrection);
    }
    return true;
}

// Divergence as a power of the limit through both ends.
double ToleranceSearch::between() const {
    const double width = std::log(missed_.limit / met_.limit);
    const double rise = std::log(missed_.reached / met_.reached);
    const double aim = std::log(tolerance_ * (1 + closeness_) / 2 / met_.reached);
    const double share = rise > 0 ? aim / rise : 0.5;
    return met_.limit * std::exp(width * std::clamp(share, kMargin, 1 - kMargin));
}

}  // namespace edgemoe
