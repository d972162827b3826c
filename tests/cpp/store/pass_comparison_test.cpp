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

// Each turn begins with passes that are not measured; those of the tests take so long that their number is what counts.
constexpr int kTurn = prefetch::kTurnPasses;
constexpr int kMeasured = kTurn - prefetch::kSettlingPasses;
constexpr int kUndecided = 2 * kTurn * ((static_cast<int>(prefetch::kLeastSamples) - 1) / kMeasured + 1);
constexpr int kPeriod = kTurn * prefetch::kTrialPeriod;
constexpr int kLongestPeriod = kTurn * prefetch::kLongestTrialPeriod;

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
    run(&comparison, kUndecided + 8 * kLongestPeriod, 1.0, 2.0);
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
    run(&comparison, kPeriod, 2.0, 1.0);
    CHECK(comparison.n_passes(true) == n_before + kTurn);  // it is tried again
    run(&comparison, 40 * kLongestPeriod, 0.5, 1.0);
    CHECK(comparison.prefers_ahead());
}

TEST_CASE("TrialsThatChangeNothingBecomeRare") {
    PassComparison comparison(true);
    run(&comparison, kUndecided + 8 * kLongestPeriod, 2.0, 1.0);
    const uint64_t n_before = comparison.n_passes(true);
    run(&comparison, kLongestPeriod, 2.0, 1.0);
    CHECK(comparison.n_passes(true) == n_before + kTurn);
}

TEST_CASE("WithoutADifferenceNothingIsReadAhead") {
    PassComparison comparison(true);
    run(&comparison, 2 * kUndecided, 1.0, 1.0);
    CHECK_FALSE(comparison.prefers_ahead());
}

TEST_CASE("TurnsOfShortPassesLastUntilAThrottledDiskHasSettled") {
    PassComparison comparison(true);
    constexpr double kSeconds = 0.002;
    constexpr auto kShortTurn = static_cast<int>(prefetch::kTurnSeconds / kSeconds);
    // What reading ahead takes too much is paid for by the first passes without it.
    const auto pass = [&](int in_turn) {
        const bool is_ahead = comparison.reads_ahead();
        const bool pays = is_ahead ? in_turn > kShortTurn / 4 : in_turn < kShortTurn / 4;
        comparison.end_pass(pays ? 1.5 * kSeconds : kSeconds, 0.0, true);
        return comparison.reads_ahead() != is_ahead;
    };
    for (int n = 0, in_turn = 0; n < 4 * kShortTurn; ++n) {
        in_turn = pass(in_turn) ? 0 : in_turn + 1;
    }
    CHECK(comparison.n_passes(true) > static_cast<uint64_t>(kShortTurn) / 2);
    CHECK(comparison.n_passes(false) > static_cast<uint64_t>(kShortTurn) / 2);
    CHECK_FALSE(comparison.prefers_ahead());
}

TEST_CASE("WhatWasBegunGoesOnWithALittleLessGainThanBeginningTakes") {
    const double little = (prefetch::kMostToBegin + prefetch::kMostToGoOn) / 2;
    PassComparison comparison(true);
    run(&comparison, 2 * kUndecided, little, 1.0);
    CHECK_FALSE(comparison.prefers_ahead());
    run(&comparison, 40 * kLongestPeriod, prefetch::kMostToBegin - 0.1, 1.0);
    CHECK(comparison.prefers_ahead());
    run(&comparison, 40 * kLongestPeriod, little, 1.0);
    CHECK(comparison.prefers_ahead());
    run(&comparison, 40 * kLongestPeriod, 1.0, 1.0);
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
    for (int i = 0; i < 3 * kPeriod; ++i) {
        CHECK(comparison.reads_ahead());
        comparison.end_pass(1.0, 0.5, true);
    }
    CHECK(comparison.n_passes(false) == 0);
}

}  // namespace edgemoe::test
