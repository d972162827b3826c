#include "store/forecast_recall.h"

#include <doctest/doctest.h>

namespace edgemoe::test {

using Experts = std::vector<int32_t>;

TEST_CASE("RecallIsTheShareOfTheChosenAmongAsManyLikeliest") {
    ForecastRecall recall(3, 2);
    recall.begin_forecast();
    recall.name(1, 1, 5, 0.1F);
    recall.name(1, 1, 6, 0.9F);
    recall.name(1, 1, 7, 0.5F);  // drops 5
    recall.name(2, 2, 4, 0.5F);
    recall.judge(1, Experts{5, 6});
    const std::vector<LayerRecall> table = recall.table();
    REQUIRE(table.size() == 1);  // layer 2 has not chosen
    CHECK(table[0].layer == 1);
    CHECK(table[0].distance == 1);
    CHECK(table[0].n_chosen == 2);
    CHECK(table[0].n_named == 1);
}

TEST_CASE("EachDistanceIsJudgedByItself") {
    ForecastRecall recall(3, 2);
    recall.begin_forecast();
    recall.name(2, 2, 0, 1.0F);
    recall.begin_forecast();
    recall.name(2, 1, 1, 1.0F);
    recall.judge(2, Experts{1, 3});
    const std::vector<LayerRecall> table = recall.table();
    REQUIRE(table.size() == 2);
    CHECK(table[0].distance == 1);
    CHECK(table[0].n_named == 1);
    CHECK(table[1].distance == 2);
    CHECK(table[1].n_named == 0);
}

TEST_CASE("AForecastIsJudgedOnceAndALaterOneReplacesIt") {
    ForecastRecall recall(1, 1);
    recall.begin_forecast();
    recall.name(0, 1, 3, 1.0F);
    recall.begin_forecast();
    recall.name(0, 1, 4, 0.5F);
    recall.judge(0, Experts{4});
    recall.judge(0, Experts{4});
    REQUIRE(recall.table().size() == 1);
    CHECK(recall.table()[0].n_chosen == 1);
    CHECK(recall.table()[0].n_named == 1);
}

TEST_CASE("WhatIsTooFarAwayIsNotJudged") {
    ForecastRecall recall(1, 1);
    recall.begin_forecast();
    recall.name(0, prefetch::kMostDistance + 1, 0, 1.0F);
    recall.judge(0, Experts{0});
    CHECK(recall.table().empty());
}

}  // namespace edgemoe::test
