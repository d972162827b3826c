#include "store/pass_comparison.h"

#include <doctest/doctest.h>

#include <algorithm>

namespace edgemoe::test {
namespace {

// Passes whose layers take so long, with reads ahead and without.
void run(PassComparison * comparison, int n_passes, double ahead, double without) {
    for (int i = 0; i < n_passes; ++i) {
        const double seconds = comparison->reads_ahead() ? ahead : without;
        comparison->end_pass(seconds, seconds / 2, true);
    }
}

// Of passes that take so long that few make a trial.
constexpr int kFirstRound = 2 * prefetch::kTrialPasses;
constexpr int kSecondRound = (1 + prefetch::kFirstStretch) * prefetch::kTrialPasses;
constexpr int kLongestRound = (1 + prefetch::kLongestStretch) * prefetch::kTrialPasses;

}  // namespace

TEST_CASE("BothWaysTakeTurnsUntilOneIsChosen") {
    PassComparison comparison(true);
    CHECK(comparison.reads_ahead());  // so that a short text has it too
    run(&comparison, kFirstRound, 1.0, 2.0);
    CHECK(comparison.n_passes(true) == comparison.n_passes(false));
    CHECK(comparison.prefers_ahead());
}

TEST_CASE("ReadsAheadGoOnWhileLayersTakeLess") {
    PassComparison comparison(true);
    run(&comparison, kFirstRound + kSecondRound + 30 * kLongestRound, 1.0, 2.0);
    CHECK(comparison.prefers_ahead());
    CHECK(comparison.n_passes(true) > 20 * comparison.n_passes(false));
    CHECK(comparison.n_passes(false) > 0);
    CHECK(comparison.stall_seconds(false) == doctest::Approx(static_cast<double>(comparison.n_passes(false))));
}

TEST_CASE("ReadsAheadStopWhenLayersTakeMoreAndComeBackWhenTheyDoNot") {
    PassComparison comparison(true);
    run(&comparison, kFirstRound, 2.0, 1.0);
    CHECK_FALSE(comparison.prefers_ahead());
    const uint64_t n_before = comparison.n_passes(true);
    run(&comparison, kSecondRound, 2.0, 1.0);
    CHECK(comparison.n_passes(true) == n_before + prefetch::kTrialPasses);  // it is tried again
    run(&comparison, 40 * kLongestRound, 0.5, 1.0);
    CHECK(comparison.prefers_ahead());
}

TEST_CASE("TrialsThatChangeNothingBecomeRare") {
    PassComparison comparison(true);
    run(&comparison, kFirstRound + kSecondRound + 9 * kLongestRound, 2.0, 1.0);
    const uint64_t n_before = comparison.n_passes(true);
    run(&comparison, kLongestRound, 2.0, 1.0);
    CHECK(comparison.n_passes(true) == n_before + prefetch::kTrialPasses);
}

TEST_CASE("WithoutADifferenceNothingIsReadAhead") {
    PassComparison comparison(true);
    run(&comparison, kFirstRound, 1.0, 1.0);
    CHECK_FALSE(comparison.prefers_ahead());
}

TEST_CASE("WhatWasBegunGoesOnWithALittleLessGainThanBeginningTakes") {
    const double little = (prefetch::kMostToBegin + prefetch::kMostToGoOn) / 2;
    PassComparison comparison(true);
    run(&comparison, kFirstRound, little, 1.0);
    CHECK_FALSE(comparison.prefers_ahead());
    run(&comparison, 40 * kLongestRound, prefetch::kMostToBegin - 0.1, 1.0);
    CHECK(comparison.prefers_ahead());
    run(&comparison, 40 * kLongestRound, little, 1.0);
    CHECK(comparison.prefers_ahead());
    run(&comparison, 40 * kLongestRound, 1.0, 1.0);
    CHECK_FALSE(comparison.prefers_ahead());
}

TEST_CASE("AFastModelIsComparedForLongEnough") {
    // A limit on bytes that is kept in slices of 40 ms: what is read ahead is paid for by the first of the next turn.
    constexpr double kSeconds = 0.002;
    constexpr int kDebt = 20;
    PassComparison comparison(true);
    bool was_ahead = false;
    int n_debts = 0;
    for (int i = 0; i < 2000; ++i) {
        const bool is_ahead = comparison.reads_ahead();
        n_debts = was_ahead && !is_ahead ? kDebt : std::max(0, n_debts - 1);
        comparison.end_pass(n_debts > 0 && !is_ahead ? 2 * kSeconds : kSeconds, 0.0, true);
        was_ahead = is_ahead;
    }
    CHECK_FALSE(comparison.prefers_ahead());
    CHECK(comparison.n_passes(true) < 600);
}

TEST_CASE("OnePassThatWasDisturbedDoesNotDecide") {
    PassComparison comparison(true);
    bool was_disturbed = false;
    for (int i = 0; i < 600; ++i) {
        const bool is_disturbed = !was_disturbed && i > 230 && !comparison.reads_ahead();
        comparison.end_pass(is_disturbed ? 0.006 : 0.002, 0.0, true);
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
    for (int i = 0; i < kFirstRound; ++i) {
        CHECK(comparison.reads_ahead());
        comparison.end_pass(1.0, 0.5, true);
    }
    CHECK(comparison.n_passes(false) == 0);
}

}  // namespace edgemoe::test
