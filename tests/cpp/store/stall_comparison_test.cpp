#include "store/stall_comparison.h"

#include <doctest/doctest.h>

namespace edgemoe::test {
namespace {

// Passes that stall so long, with reads ahead and without.
void run(StallComparison * comparison, int n_passes, double ahead, double without) {
    for (int i = 0; i < n_passes; ++i) {
        comparison->end_pass(comparison->reads_ahead() ? ahead : without, true);
    }
}

constexpr int kEnough = prefetch::kTrialPeriod * (static_cast<int>(prefetch::kLeastSamples) + 1);

}  // namespace

TEST_CASE("ReadsAheadGoOnWhileTheyStallLess") {
    StallComparison comparison(true);
    run(&comparison, 4 * kEnough, 1.0, 2.0);
    CHECK(comparison.prefers_ahead());
    CHECK(comparison.n_passes(true) > 10 * comparison.n_passes(false));
    CHECK(comparison.n_passes(false) > 0);
    CHECK(comparison.stall_seconds(false) == doctest::Approx(2.0 * static_cast<double>(comparison.n_passes(false))));
}

TEST_CASE("ReadsAheadStopWhenTheyStallMoreAndComeBackWhenTheyDoNot") {
    StallComparison comparison(true);
    run(&comparison, 2 * kEnough, 2.0, 1.0);
    CHECK_FALSE(comparison.prefers_ahead());
    const uint64_t n_before = comparison.n_passes(true);
    run(&comparison, prefetch::kTrialPeriod, 2.0, 1.0);
    CHECK(comparison.n_passes(true) == n_before + prefetch::kTrialPasses);  // it is tried again
    run(&comparison, 20 * kEnough, 0.5, 1.0);
    CHECK(comparison.prefers_ahead());
}

TEST_CASE("NoDifferenceChangesNothing") {
    StallComparison comparison(true);
    run(&comparison, 2 * kEnough, 0.0, 0.0);
    CHECK(comparison.prefers_ahead());
}

TEST_CASE("PassesThatSayNothingAreNotCounted") {
    StallComparison comparison(true);
    comparison.end_pass(100.0, false);
    CHECK(comparison.n_passes(true) == 0);
    CHECK(comparison.stall_seconds(true) == 0.0);
}

TEST_CASE("WithoutAlternationAllPassesReadAhead") {
    StallComparison comparison(false);
    for (int i = 0; i < 3 * prefetch::kTrialPeriod; ++i) {
        CHECK(comparison.reads_ahead());
        comparison.end_pass(1.0, true);
    }
    CHECK(comparison.n_passes(false) == 0);
}

}  // namespace edgemoe::test
