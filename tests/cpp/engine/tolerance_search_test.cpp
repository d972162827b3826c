#include "engine/tolerance_search.h"

#include <doctest/doctest.h>

#include <cmath>
#include <functional>
#include <vector>

namespace edgemoe {
namespace {

constexpr double kTolerance = 0.01;
constexpr double kCloseness = 0.99;

struct Outcome {
    int n_measured = 0;
    double best = 0;  // the largest divergence that was met; 0: none
};

// Searches where the allocation for a limit is the number of steps below it, and `reached` what is measured with it.
Outcome search(const std::function<int(double)> & allocation, const std::function<double(int)> & reached) {
    ToleranceSearch tolerance(kTolerance, kCloseness);
    std::vector<int> known;
    Outcome outcome;
    for (bool goes_on = true; goes_on;) {
        const int chosen = allocation(tolerance.limit());
        bool was_known = false;
        for (const int before : known) {
            was_known = was_known || before == chosen;
        }
        if (!was_known) {
            known.push_back(chosen);
            outcome.n_measured++;
        }
        const double divergence = reached(chosen);
        if (divergence <= kTolerance && divergence > outcome.best) {
            outcome.best = divergence;
        }
        goes_on = tolerance.add(divergence, was_known);
    }
    return outcome;
}

// Steps of 0.1% of the limit.
int fine(double limit) {
    return static_cast<int>(std::floor(std::log(limit) * 1000));
}
double limit_of(int step) {
    return std::exp(step / 1000.0);
}

}  // namespace

TEST_CASE("AnExpectationThatIsOffByAFactorIsCorrectedAtOnce") {
    for (const double factor : {0.2, 0.9, 1.0, 1.3, 8.0}) {
        CAPTURE(factor);
        const Outcome outcome = search(fine, [&](int step) { return factor * limit_of(step); });
        CHECK(outcome.n_measured <= 3);
        CHECK(outcome.best >= kCloseness * kTolerance);
    }
}

TEST_CASE("AFactorThatChangesWithTheLimitIsFoundBetweenItsNeighbours") {
    for (const double power : {0.5, 0.7, 1.5, 2.5}) {
        CAPTURE(power);
        const Outcome outcome =
            search(fine, [&](int step) { return 3 * kTolerance * std::pow(limit_of(step) / kTolerance, power); });
        CHECK(outcome.n_measured <= ToleranceSearch::kMostMeasurements);
        CHECK(outcome.best >= 0.97 * kTolerance);
    }
}

TEST_CASE("CoarseStepsEndTheSearchWithTheLargestThatIsMet") {
    // Divergences of 0.002 * 1.5^step: 0.0067 is met, 0.0101 is not.
    const Outcome outcome =
        search([](double limit) { return static_cast<int>(std::floor(std::log(limit / 0.002) / std::log(1.5))); },
               [](int step) { return 0.002 * std::pow(1.5, step); });
    CHECK(outcome.best == doctest::Approx(0.002 * std::pow(1.5, 3)));
    CHECK(outcome.n_measured <= 4);
}

TEST_CASE("AToleranceThatNothingReachesEnds") {
    const Outcome outcome = search([](double limit) { return limit > 1e-3 ? 1 : 0; }, [](int) { return 0.5; });
    CHECK(outcome.best == 0);
    CHECK(outcome.n_measured == 2);
}

TEST_CASE("AToleranceThatEverythingKeepsEndsWithTheSmallestTypes") {
    const Outcome outcome =
        search([](double limit) { return limit > 0.05 ? 1 : 0; }, [](int step) { return step == 1 ? 0.004 : 0.001; });
    CHECK(outcome.best == 0.004);
    CHECK(outcome.n_measured == 2);
}

}  // namespace edgemoe
