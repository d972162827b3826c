#include "store/forecast_record.h"

#include <doctest/doctest.h>

namespace edgemoe::test {

using Experts = std::vector<int32_t>;

TEST_CASE("RecallIsTheShareOfTheChosenAmongAsManyLikeliest") {
    ForecastRecord record(3, 2);
    record.begin_forecast();
    record.name({{1, 5}, 0.1F, 1});
    record.name({{1, 6}, 0.9F, 1});
    record.name({{1, 7}, 0.5F, 1});
    record.name({{2, 4}, 0.5F, 2});
    record.judge(1, Experts{5, 6});
    const std::vector<LayerRecall> table = record.table();
    REQUIRE(table.size() == 1);  // layer 2 has not chosen
    CHECK(table[0].layer == 1);
    CHECK(table[0].distance == 1);
    CHECK(table[0].n_chosen == 2);
    CHECK(table[0].n_named == 1);
}

TEST_CASE("EachDistanceIsJudgedByItself") {
    ForecastRecord record(3, 2);
    record.begin_forecast();
    record.name({{2, 0}, 1.0F, 2});
    record.begin_forecast();
    record.name({{2, 1}, 1.0F, 1});
    record.judge(2, Experts{1, 3});
    const std::vector<LayerRecall> table = record.table();
    REQUIRE(table.size() == 2);
    CHECK(table[0].distance == 1);
    CHECK(table[0].n_named == 1);
    CHECK(table[1].distance == 2);
    CHECK(table[1].n_named == 0);
}

TEST_CASE("AForecastIsJudgedOnceAndALaterOneReplacesIt") {
    ForecastRecord record(1, 1);
    record.begin_forecast();
    record.name({{0, 3}, 1.0F, 1});
    record.begin_forecast();
    record.name({{0, 4}, 0.5F, 1});
    record.judge(0, Experts{4});
    record.judge(0, Experts{4});
    REQUIRE(record.table().size() == 1);
    CHECK(record.table()[0].n_chosen == 1);
    CHECK(record.table()[0].n_named == 1);
}

TEST_CASE("WhatIsTooFarAwayIsNotJudged") {
    ForecastRecord record(1, 1);
    record.begin_forecast();
    record.name({{0, 0}, 1.0F, prefetch::kMostDistance + 1});
    record.judge(0, Experts{0});
    CHECK(record.table().empty());
}

TEST_CASE("TheChanceIsTheShareOfItsKindThatCameTrue") {
    ForecastRecord record(2, 1);
    CHECK(record.chance({{1, 0}, 0.9F, 1}) > 0.8F);  // before anything is known
    for (int i = 0; i < 400; i++) {
        record.begin_forecast();
        record.name({{1, 0}, 0.9F, 1});  // right every fourth time
        record.name({{1, 1}, 0.2F, 1});  // right otherwise
        record.judge(1, Experts{i % 4 == 0 ? 0 : 1});
    }
    CHECK(record.chance({{1, 0}, 0.9F, 1}) == doctest::Approx(0.25F).epsilon(0.05));
    CHECK(record.chance({{1, 0}, 0.2F, 1}) == doctest::Approx(0.75F).epsilon(0.05));
    CHECK(record.chance({{1, 0}, 0.9F, 2}) > 0.8F);  // another distance is of another kind
    CHECK(record.chance({{0, 0}, 0.9F, 1}) > 0.8F);
}

TEST_CASE("AChanceFollowsWhatChanges") {
    ForecastRecord record(1, 1);
    for (int i = 0; i < 2000; i++) {
        record.begin_forecast();
        record.name({{0, 0}, 1.0F, 1});
        record.judge(0, Experts{i < 1000 ? 0 : 1});
    }
    CHECK(record.chance({{0, 0}, 1.0F, 1}) < 0.05F);
}

TEST_CASE("SourcesAreJudgedByThemselvesAndTheLaterForecastCounts") {
    ForecastRecord record(1, 1);
    const ExpertForecast by_layer = {{0, 3}, 0.9F, 1, ForecastSource::kLayer};
    const ExpertForecast by_token = {{0, 4}, 0.9F, 1, ForecastSource::kToken};
    for (int i = 0; i < 100; i++) {
        record.begin_forecast();
        record.name(by_layer);
        if (i % 2 == 0) {
            record.begin_forecast();
            record.name(by_token);
        }
        record.judge(0, Experts{4});
    }
    CHECK(record.chance(by_layer) < 0.1F);
    CHECK(record.chance(by_token) > 0.9F);
    REQUIRE(record.table().size() == 1);
    CHECK(record.table()[0].n_chosen == 100);
    CHECK(record.table()[0].n_named == 50);
}

}  // namespace edgemoe::test
