#include "predict/token_routing.h"

#include <doctest/doctest.h>

namespace edgemoe::test {

using Experts = std::vector<int32_t>;

namespace {

Experts found(const TokenRouting & routing, int32_t token, size_t layer) {
    const ChosenExperts chosen = routing.find(token, layer);
    return Experts(chosen.ids, chosen.ids + chosen.n);
}

void record(TokenRouting * routing, int32_t token, size_t layer, const Experts & experts) {
    routing->record(token, layer, {experts.data(), experts.size()});
}

}  // namespace

TEST_CASE("ATokensLatestExpertsAreRemembered") {
    TokenRouting routing(2, 3);
    CHECK(found(routing, 5, 0).empty());
    record(&routing, 5, 0, {7, 2, 9});
    record(&routing, 5, 1, {4});
    CHECK(found(routing, 5, 0) == Experts{7, 2, 9});
    CHECK(found(routing, 5, 1) == Experts{4});
    CHECK(found(routing, 6, 0).empty());
    record(&routing, 5, 0, {1, 2});
    CHECK(found(routing, 5, 0) == Experts{1, 2});
    CHECK(found(routing, 5, 1) == Experts{4});
}

TEST_CASE("OfTwoTokensInOnePlaceTheLaterIsRemembered") {
    TokenRouting routing(2, 1);
    const auto other = static_cast<int32_t>(5 + TokenRouting::kMostTokens);
    record(&routing, 5, 0, {1});
    record(&routing, 5, 1, {2});
    record(&routing, other, 0, {3});
    CHECK(found(routing, 5, 0).empty());
    CHECK(found(routing, other, 0) == Experts{3});
    CHECK(found(routing, other, 1).empty());
}

TEST_CASE("WhatDoesNotFitIsCutOffAndNoTokenIsNobody") {
    TokenRouting routing(1, 2);
    record(&routing, 0, 0, {1, 2, 3});
    CHECK(found(routing, 0, 0) == Experts{1, 2});
    record(&routing, -1, 0, {1});
    CHECK(found(routing, -1, 0).empty());
}

}  // namespace edgemoe::test
