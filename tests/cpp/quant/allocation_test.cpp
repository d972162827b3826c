#include "quant/allocation.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <functional>
#include <limits>
#include <random>

namespace edgemoe {
namespace {

std::vector<Group> random_groups(std::mt19937 & random, size_t n_groups, size_t most_choices) {
    std::vector<Group> groups(n_groups);
    for (Group & group : groups) {
        const size_t n_choices = 1 + random() % most_choices;
        for (size_t k = 0; k < n_choices; k++) {
            const auto cost = static_cast<double>(1 + random() % 20);
            group.choices.push_back({static_cast<int32_t>(k), 0, cost, static_cast<double>(random() % 100) / 8});
        }
    }
    return groups;
}

struct Best {
    bool found = false;
    double value = std::numeric_limits<double>::infinity();
};

// Every combination.
Best exhaustive(const std::vector<Group> & groups, double Choice::*resource, double Choice::*value, double limit) {
    Best best;
    const std::function<void(size_t, double, double)> go = [&](size_t group, double used, double reached) {
        if (group == groups.size()) {
            if (used <= limit) {
                best.found = true;
                best.value = std::min(best.value, reached);
            }
            return;
        }
        for (const Choice & choice : groups[group].choices) {
            go(group + 1, used + choice.*resource, reached + choice.*value);
        }
    };
    go(0, 0, 0);
    return best;
}

TEST_CASE("TheAnswerIsWithinItsGapOfTheBestOfAllCombinations") {
    std::mt19937 random(5);
    int n_solved = 0;
    int n_optimal = 0;
    for (int round = 0; round < 400; round++) {
        const std::vector<Group> groups = random_groups(random, 1 + random() % 5, 5);
        const auto limit = static_cast<double>(random() % 80);
        const Result<Allocation> result = least_damage(groups, limit);
        const Best best = exhaustive(groups, &Choice::cost, &Choice::damage, limit);
        REQUIRE(result.is_ok() == best.found);
        if (!best.found) {
            CHECK(result.status().code() == StatusCode::kOutOfBudget);
            continue;
        }
        n_solved++;
        const Allocation & allocation = result.value();
        CHECK(allocation.cost <= limit);
        CHECK(allocation.damage >= best.value - 1e-9);
        CHECK(allocation.damage <= best.value * (1 + allocation.gap) + 1e-9);
        n_optimal += allocation.damage <= best.value + 1e-9 ? 1 : 0;
    }
    CHECK(n_solved > 200);
    CHECK(n_optimal * 10 > n_solved * 6);
}

TEST_CASE("LeastCostIsTheSameProblemWithTheAxesExchanged") {
    std::mt19937 random(6);
    for (int round = 0; round < 200; round++) {
        const std::vector<Group> groups = random_groups(random, 1 + random() % 5, 5);
        const auto limit = static_cast<double>(random() % 40);
        const Result<Allocation> result = least_cost(groups, limit);
        const Best best = exhaustive(groups, &Choice::damage, &Choice::cost, limit);
        REQUIRE(result.is_ok() == best.found);
        if (best.found) {
            CHECK(result.value().damage <= limit);
            CHECK(result.value().cost >= best.value - 1e-9);
            CHECK(result.value().cost <= best.value * (1 + result.value().gap) + 1e-9);
        }
    }
}

TEST_CASE("SumsAreThoseOfTheChosen") {
    std::mt19937 random(7);
    const std::vector<Group> groups = random_groups(random, 40, 8);
    const Allocation allocation = least_damage(groups, 400).value();
    double cost = 0;
    double damage = 0;
    for (size_t i = 0; i < groups.size(); i++) {
        cost += groups[i].choices[allocation.chosen[i]].cost;
        damage += groups[i].choices[allocation.chosen[i]].damage;
    }
    CHECK(allocation.cost == cost);
    CHECK(allocation.damage == damage);
}

TEST_CASE("AHigherLimitNeverDoesMoreThanItsGapOfHarm") {
    std::mt19937 random(8);
    const std::vector<Group> groups = random_groups(random, 60, 8);
    double bound_before = std::numeric_limits<double>::infinity();
    for (double limit = 300; limit < 900; limit += 7) {
        const Result<Allocation> result = least_damage(groups, limit);
        if (!result.is_ok()) {
            continue;
        }
        const double bound = result.value().damage / (1 + result.value().gap);
        CHECK(bound <= bound_before + 1e-9);
        bound_before = bound;
    }
    CHECK(bound_before < std::numeric_limits<double>::infinity());
}

TEST_CASE("ManyGroupsLeaveAlmostNoGap") {
    std::mt19937 random(9);
    const std::vector<Group> groups = random_groups(random, 3000, 12);
    const Allocation allocation = least_damage(groups, 24000).value();
    CHECK(allocation.cost <= 24000);
    CHECK(allocation.gap < 0.002);
    CHECK(allocation.multiplier > 0);
}

TEST_CASE("AChoiceBetweenTheHullsCornersFillsWhatIsLeft") {
    // The middle choice is above the line from the first to the last, and all that fits.
    const std::vector<Group> groups = {{{{0, 0, 1, 10}, {1, 0, 5, 9}, {2, 0, 10, 0}}}};
    const Allocation allocation = least_damage(groups, 6).value();
    CHECK(allocation.chosen == std::vector<uint32_t>{1});
    CHECK(allocation.gap > 0);
}

TEST_CASE("OfEqualChoicesTheFirstIsTaken") {
    const std::vector<Group> groups = {{{{7, 0, 2, 3}, {8, 0, 2, 3}}}, {{{7, 0, 2, 3}, {8, 0, 2, 3}}}};
    CHECK(least_damage(groups, 4).value().chosen == std::vector<uint32_t>{0, 0});
    // Room for one of two equal improvements: the first group's.
    const std::vector<Group> upgrades = {{{{0, 0, 1, 5}, {1, 0, 2, 1}}}, {{{0, 0, 1, 5}, {1, 0, 2, 1}}}};
    CHECK(least_damage(upgrades, 3).value().chosen == std::vector<uint32_t>{1, 0});
}

TEST_CASE("AWideLimitTakesTheLeastDamageAtItsLeastCost") {
    const std::vector<Group> groups = {{{{0, 0, 9, 1}, {1, 0, 4, 1}, {2, 0, 1, 2}}}};
    const Allocation allocation = least_damage(groups, 100).value();
    CHECK(allocation.chosen == std::vector<uint32_t>{1});
    CHECK(allocation.gap == 0);
    CHECK(allocation.multiplier == 0);
}

TEST_CASE("ALimitBelowTheCheapestIsRefusedWithItsCost") {
    const std::vector<Group> groups = {{{{0, 0, 5, 1}}}, {{{0, 0, 7, 1}}}};
    const Result<Allocation> result = least_damage(groups, 11);
    REQUIRE(!result.is_ok());
    CHECK(result.status().code() == StatusCode::kOutOfBudget);
    CHECK(result.status().message().find("12") != std::string::npos);
    CHECK(least_damage(groups, 12).is_ok());
}

TEST_CASE("NumbersThatAreNoneAreRefused") {
    const double nan = std::numeric_limits<double>::quiet_NaN();
    const double infinity = std::numeric_limits<double>::infinity();
    for (const Choice & bad : {Choice{0, 0, nan, 1}, Choice{0, 0, 1, infinity}, Choice{0, 0, -1, 1}}) {
        CHECK(least_damage({{{bad}}}, 10).status().code() == StatusCode::kInvalidArgument);
    }
    CHECK(least_damage({{{}}}, 10).status().code() == StatusCode::kInvalidArgument);
    CHECK(least_damage({{{{0, 0, 1, 1}}}}, nan).status().code() == StatusCode::kInvalidArgument);
    CHECK(least_damage({}, 0).is_ok());
}

}  // namespace
}  // namespace edgemoe
