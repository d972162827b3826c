#include "store/pass_comparison.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <random>

namespace edgemoe::test {
namespace {

// Passes whose layers take so long, with reads ahead and without.
void run(PassComparison * comparison, int n_passes, double ahead, double without) {
    for (int i = 0; i < n_passes; ++i) {
        const double seconds = comparison->reads_ahead() ? ahead : without;
        comparison->end_pass(seconds, seconds / 2, true);
    }
}

// Of passes that take so long that few make a trial; the first of a turn is not measured.
constexpr int kTrial = 1 + prefetch::kTrialPasses;
constexpr int kLostTrial = 1 + prefetch::kLeastTrialPasses;
constexpr int kFirstRound = 2 * kTrial;
constexpr int kSecondRound = kLostTrial + 1 + prefetch::kFirstStretch * prefetch::kTrialPasses;
constexpr int kLongestRound = kLostTrial + 1 + prefetch::kLongestStretch * prefetch::kTrialPasses;

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
    CHECK(comparison.n_passes(true) == n_before + kLostTrial);  // it is tried again
    run(&comparison, 40 * kLongestRound, 0.5, 1.0);
    CHECK(comparison.prefers_ahead());
}

TEST_CASE("TrialsThatChangeNothingBecomeRare") {
    PassComparison comparison(true);
    run(&comparison, kFirstRound + kSecondRound + 9 * kLongestRound, 2.0, 1.0);
    const uint64_t n_before = comparison.n_passes(true);
    run(&comparison, kLongestRound, 2.0, 1.0);
    CHECK(comparison.n_passes(true) == n_before + kLostTrial);
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
    // Fast, so that a trial has a hundred passes, and so slow that it has sixteen; any one pass of the first rounds.
    for (const double seconds : {0.002, 0.04, 0.1}) {
        for (const double factor : {2.0, 10.0, 100.0}) {
            for (int disturbed = 0; disturbed < 600; disturbed++) {
                PassComparison comparison(true);
                bool was_preferred = false;
                for (int i = 0; i < 900; i++) {
                    comparison.end_pass(i == disturbed ? factor * seconds : seconds, 0.0, true);
                    was_preferred = was_preferred || comparison.prefers_ahead();
                }
                CAPTURE(seconds);
                CAPTURE(factor);
                CAPTURE(disturbed);
                CHECK_FALSE(was_preferred);
            }
        }
    }
}

TEST_CASE("OnePassThatWasDisturbedDoesNotStopReadsAhead") {
    for (const double seconds : {0.002, 0.04}) {
        for (int disturbed = 0; disturbed < 600; disturbed++) {
            PassComparison comparison(true);
            bool is_preferred = false;
            bool was_stopped = false;
            for (int i = 0; i < 3000; i++) {
                const double usual = comparison.reads_ahead() ? 0.9 * seconds : seconds;
                comparison.end_pass(i == disturbed ? 10 * usual : usual, 0.0, true);
                was_stopped = was_stopped || (is_preferred && !comparison.prefers_ahead());
                is_preferred = comparison.prefers_ahead();
            }
            CHECK(is_preferred);
            CHECK_FALSE(was_stopped);
        }
    }
}

TEST_CASE("TwoPassesThatWereDisturbedDoNotDecide") {
    for (int first = 0; first < 100; first += 3) {
        for (int second = first + 1; second < 100; second++) {
            PassComparison comparison(true);
            bool was_preferred = false;
            for (int i = 0; i < 300; i++) {
                comparison.end_pass(i == first || i == second ? 0.4 : 0.1, 0.0, true);
                was_preferred = was_preferred || comparison.prefers_ahead();
            }
            CHECK_FALSE(was_preferred);
        }
    }
}

TEST_CASE("WhatMakesBothWaysSlowerChangesNothing") {
    for (const double ahead : {0.9, 1.05}) {
        PassComparison comparison(true);
        std::mt19937 random(1);
        std::normal_distribution<double> noise(0, 0.15);
        int n_wrong = 0;
        for (int i = 0; i < 30000; i++) {
            const double pace = (i / 4000) % 2 == 0 ? 1.0 : 1.5;  // for some ten seconds
            const double seconds = 0.002 * pace * std::exp(noise(random));
            comparison.end_pass(comparison.reads_ahead() ? ahead * seconds : seconds, 0.0, true);
            n_wrong += i > 2000 && comparison.prefers_ahead() != (ahead < 1) ? 1 : 0;
        }
        CAPTURE(ahead);
        CHECK(n_wrong < 1500);
    }
}

TEST_CASE("TokensAfterAPromptAreNotMeasuredAtOnce") {
    PassComparison comparison(true);
    for (int prompt = 0; prompt < 100; prompt++) {
        comparison.end_pass(0.1, 0.0, false);
        for (int i = 0; i < 300; i++) {  // the first are slow
            comparison.end_pass(i < 20 ? 0.004 : 0.002, 0.0, true);
            CHECK_FALSE(comparison.prefers_ahead());
        }
    }
}

TEST_CASE("ADifferenceWithinChanceChangesNothing") {
    std::mt19937 random(1);
    std::normal_distribution<double> noise(0, 0.3);
    int n_wrong = 0;
    int n_found = 0;
    for (int trial = 0; trial < 100; trial++) {
        PassComparison same(true);
        PassComparison sooner(true);
        for (int i = 0; i < 400; i++) {  // the first two turns
            const double seconds = 0.002 * std::exp(noise(random));
            same.end_pass(seconds, 0.0, true);
            sooner.end_pass(sooner.reads_ahead() ? 0.8 * seconds : seconds, 0.0, true);
        }
        n_wrong += same.prefers_ahead() ? 1 : 0;
        n_found += sooner.prefers_ahead() ? 1 : 0;
    }
    CHECK(n_wrong <= 15);
    CHECK(n_found >= 95);
}

TEST_CASE("ATrialEndsEarlyWhenItIsLost") {
    PassComparison comparison(true);
    for (int i = 0; i < 5000; i++) {
        const double seconds = 0.002 + 0.0005 * (i % 3);
        comparison.end_pass(comparison.reads_ahead() ? seconds : 2 * seconds, 0.0, true);
    }
    REQUIRE(comparison.prefers_ahead());
    while (comparison.reads_ahead()) {
        comparison.end_pass(0.0025, 0.0, true);
    }
    double trial_seconds = 0;
    while (!comparison.reads_ahead()) {
        comparison.end_pass(0.005, 0.0, true);
        trial_seconds += 0.005;
    }
    CHECK(trial_seconds < prefetch::kTrialSeconds - 0.05);
    CHECK(trial_seconds > prefetch::kUnsettledSeconds + 0.05);
}

TEST_CASE("AStretchIsLongerAfterATrialThatConfirmsAndHasAnEnd") {
    PassComparison comparison(true);
    run(&comparison, kFirstRound, 1.0, 2.0);
    REQUIRE(comparison.prefers_ahead());
    for (const int n_parts : {prefetch::kFirstStretch, prefetch::kGrowth * prefetch::kFirstStretch,
                              prefetch::kLongestStretch, prefetch::kLongestStretch}) {
        int n_passes = 0;
        while (comparison.reads_ahead()) {
            run(&comparison, 1, 1.0, 2.0);
            n_passes++;
        }
        CHECK(n_passes == 1 + n_parts * prefetch::kTrialPasses);
        run(&comparison, kLostTrial, 1.0, 2.0);
        CHECK(comparison.reads_ahead());
    }
}

TEST_CASE("TrialsStayFrequentWhileADifferenceIsNeitherSureNorExcluded") {
    std::mt19937 random(1);
    std::normal_distribution<double> noise(0, 0.6);
    PassComparison comparison(true);
    for (int i = 0; i < 20000; i++) {
        comparison.end_pass(0.01 * std::exp(noise(random)), 0.0, true);
    }
    const auto n_fewer = static_cast<double>(std::min(comparison.n_passes(true), comparison.n_passes(false)));
    CHECK(n_fewer > 0.1 * 20000);
}

TEST_CASE("AStretchEndsEarlyWhenItsWayBecomesWorse") {
    PassComparison comparison(true);
    run(&comparison, kFirstRound + kSecondRound + 10 * kLongestRound, 0.5, 1.0);
    REQUIRE(comparison.prefers_ahead());
    int n_passes = 0;
    while (comparison.prefers_ahead() && n_passes < 1000) {
        run(&comparison, 1, 2.0, 1.0);
        n_passes++;
    }
    CHECK(n_passes < 20 * prefetch::kTrialPasses);  // two trials: what the earlier ones showed counts, too
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
