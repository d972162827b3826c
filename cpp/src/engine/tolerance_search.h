// The search for the largest expected divergence whose packed file keeps a tolerated one when it is measured. Knows
// nothing of models: it says which limit to try next, and is told what came of it.
#pragma once

namespace edgemoe {

// What is expected is off by a factor that hardly depends on the limit, so the limit is divided by it; where it does
// depend, two measurements say how. Between a limit that was met and one that was not, the next is interpolated. Value
// type.
class ToleranceSearch {
public:
    // `closeness` (below 1): a measured divergence from this share of the tolerance on uses it up.
    ToleranceSearch(double tolerance, double closeness);

    // The expected divergence to allocate for next.
    double limit() const { return limit_; }

    // `reached`: the divergence measured with the allocation for limit(). `known`: that allocation had been measured
    // before, at another limit, and nothing was measured now. False: the search is over, whether the tolerance was met
    // or not.
    bool add(double reached, bool known);

    static constexpr int kMostMeasurements = 8;

private:
    struct Tried {
        double limit = 0;  // 0: none
        double reached = 0;
    };

    double between() const;

    double tolerance_;
    double closeness_;
    double limit_;
    double power_ = 1;  // what is measured grows with the limit as this power of it
    int n_measured_ = 0;
    int n_steps_ = 0;
    Tried met_;     // the largest limit that was
    Tried missed_;  // the smallest limit that was not
};

}  // namespace edgemoe
