#include "store/pass_comparison.h"

#include <doctest/doctest.h>

namespace edgemoe::test {
namespace {

// Passes whose layers take so long, with reads ahead and without.
void run(PassComparison * comparison, int n_passes, double ahead, double without) {
    for (int i = 0; i < n_passes; ++i) {
        const double seconds = comparison->reads_ahead() ? ahead : without;
        comparison->end_pass(seconds, seconds / 2, true);
    }
}

// Each turn has one pass that is not measured.
constexpr int kUndecided =
    2 * prefetch::kTrialPasses * ((static_cast<int>(prefetch::kLeastSamples) - 1) / (prefetch::kTrialPasses - 1) + 1);

}  // namespace

TEST_CASE("BothWaysTakeTurnsUntilOneIsChosen") {
    PassComparison comparison(true);
    CHECK(comparison.reads_ahead());  // so that a short text has it too
    run(&comparison, kUndecided, 1.0, 2.0);
    CHECK(comparison.n_passes(true) == comparison.n_passes(false));
    CHECK(comparison.prefers_ahead());
}

TEST_CASE("ReadsAheadGoOnWhileLayersTakeLess") {
    PassComparison comparison(true);
    run(&comparison, kUndecided + 8 * prefetch::kLongestTrialPeriod, 1.0, 2.0);
    CHECK(comparison.prefers_ahead());
    CHECK(comparison.n_passes(true) > 20 * comparison.n_passes(false));
    CHECK(comparison.n_passes(false) > 0);
    CHECK(comparison.stall_seconds(false) == doctest::Approx(static_cast<double>(comparison.n_passes(false))));
}

TEST_CASE("ReadsAheadStopWhenLayersTakeMoreAndComeBackWhenTheyDoNot") {
    PassComparison comparison(true);
    run(&comparison, kUndecided, 2.0, 1.0);
    CHECK_FALSE(comparison.prefers_ahead());
    const uint64_t n_before = comparison.n_passes(true);
    run(&comparison, prefetch::kTrialPeriod, 2.0, 1.0);
    CHECK(comparison.n_passes(true) == n_before + prefetch::kTrialPasses);  // it is tried again
    run(&comparison, 40 * prefetch::kLongestTrialPeriod, 0.5, 1.0);
    CHECK(comparison.prefers_ahead());
}

TEST_CASE("TrialsThatChangeNothingBecomeRare") {
    PassComparison comparison(true);
    run(&comparison, kUndecided + 8 * prefetch::kLongestTrialPeriod, 2.0, 1.0);
    const uint64_t n_before = comparison.n_passes(true);
    run(&comparison, prefetch::kLongestTrialPeriod, 2.0, 1.0);
    CHECK(comparison.n_passes(true) == n_before + prefetch::kTrialPasses);
}

TEST_CASE("WithoutADifferenceNothingIsReadAhead") {
    PassComparison comparison(true);
    run(&comparison, 2 * kUndecided, 1.0, 1.0);
    CHECK_FALSE(comparison.prefers_ahead());
}

TEST_CASE("WhatWasBegunGoesOnWithALittleLessGainThanBeginningTakes") {
    const double little = (prefetch::kMostToBegin + prefetch::kMostToGoOn) / 2;
    PassComparison comparison(true);
    run(&comparison, 2 * kUndecided, little, 1.0);
    CHECK_FALSE(comparison.prefers_ahead());
    run(&comparison, 40 * prefetch::kLongestTrialPeriod, prefetch::kMostToBegin - 0.1, 1.0);
    CHECK(comparison.prefers_ahead());
    run(&comparison, 40 * prefetch::kLongestTrialPeriod, little, 1.0);
    CHECK(comparison.prefers_ahead());
    run(&comparison, 40 * prefetch::kLongestTrialPeriod, 1.0, 1.0);
    CHECK_FALSE(comparison.prefers_ahead());
}

TEST_CASE("OnePassThatWasDisturbedDoesNotDecide") {
    PassComparison comparison(true);
    bool was_disturbed = false;
    for (int i = 0; i < kUndecided; ++i) {
        const bool is_disturbed = !was_disturbed && i > kUndecided / 2 && !comparison.reads_ahead();
        comparison.end_pass(is_disturbed ? 10.0 : 1.0, 0.0, true);
        was_disturbed = was_disturbed || is_disturbed;
    }
    REQUIRE(was_disturbed);
    CHECK_FALSE(comparison.prefers_ahead());
}

TEST_CASE("PassesThatSayNothingAreNotCounted") {
    PassComparison comparison(true);
    comparison.end_pass(100.0, 100.0, false);
    CHECK(comparison.n_passes(true) == 0);
    CHECK(comparison.stall_seconds(true) == 0.0);
}

TEST_CASE("WithoutAlternationAllPassesReadAhead") {
    PassComparison comparison(false);
    for (int i = 0; i < 3 * prefetch::kTrialPeriod; ++i) {
        CHECK(comparison.reads_ahead());
        comparison.end_pass(1.0, 0.5, true);
    }
    CHECK(comparison.n_passes(false) == 0);
}

}  // namespace edgemoe::test
