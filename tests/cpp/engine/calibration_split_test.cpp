#include "engine/calibration_split.h"

#include <doctest/doctest.h>

#include <numeric>

namespace edgemoe {
namespace {

std::vector<int32_t> numbered(int64_t n) {
    std::vector<int32_t> tokens(static_cast<size_t>(n));
    std::iota(tokens.begin(), tokens.end(), 0);
    return tokens;
}

TEST_CASE("EveryWholeWindowIsEitherHeldBackOrFitted") {
    const std::vector<int32_t> tokens = numbered(100 * 8 + 3);
    const CalibrationSplit split = CalibrationSplit::of(static_cast<int64_t>(tokens.size()), 8).value();
    CHECK(split.n_windows() == 100);
    CHECK(split.n_held_windows() == 16);
    const std::vector<int32_t> held = split.held_tokens(tokens, 0);
    const std::vector<int32_t> fitted = split.fitted_tokens(tokens, 0);
    CHECK(held.size() + fitted.size() == 800);
    for (const int32_t token : held) {
        CHECK(split.is_held(token));
    }
    for (const int32_t token : fitted) {
        CHECK(!split.is_held(token));
    }
    CHECK(!split.is_held(801));
}

TEST_CASE("HeldBackWindowsFollowEachOtherInSeveralPlaces") {
    const CalibrationSplit split = CalibrationSplit::of(120 * 4, 4).value();
    int n_runs = 0;
    bool before = false;
    for (int64_t window = 0; window < 120; window++) {
        const bool held = split.is_held(window * 4);
        n_runs += held && !before ? 1 : 0;
        before = held;
    }
    CHECK(n_runs == 4);
}

TEST_CASE("FewerWindowsAreSpreadOverAll") {
    const std::vector<int32_t> tokens = numbered(120 * 4);
    const CalibrationSplit split = CalibrationSplit::of(120 * 4, 4).value();
    const std::vector<int32_t> some = split.held_tokens(tokens, 4);
    REQUIRE(some.size() == 16);
    CHECK(some.front() < 120);
    CHECK(some.back() > 360);
    CHECK(some[3] == some[0] + 3);
}

TEST_CASE("TwoWindowsAreTheLeast") {
    CHECK(CalibrationSplit::of(1023, 512).status().code() == StatusCode::kInvalidArgument);
    const Result<CalibrationSplit> least = CalibrationSplit::of(1024, 512);
    REQUIRE(least.is_ok());
    CHECK(least.value().n_held_windows() == 1);
}

}  // namespace
}  // namespace edgemoe
