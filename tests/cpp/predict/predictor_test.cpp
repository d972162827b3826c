#include "predict/predictor.h"

#include <doctest/doctest.h>

#include <cmath>
#include <set>

namespace edgemoe {
namespace {

ChosenExperts chosen(const std::vector<int32_t> & ids) {
    return {ids.data(), ids.size()};
}

std::vector<float> scores_of(Predictor * predictor, const PredictionInput & input, size_t n) {
    std::vector<float> scores(n, -1.0F);
    REQUIRE(predictor->score(input, scores.data()));
    return scores;
}

}  // namespace

TEST_CASE("EveryListedPredictorCanBeMadeAndOthersCannot") {
    const std::vector<std::string> names = predictor_names();
    CHECK(std::set<std::string>(names.begin(), names.end()).size() == names.size());
    for (const std::string & name : names) {
        CHECK(make_predictor(name, {4, 4, 4}) != nullptr);
    }
    CHECK(make_predictor("oracle", {4, 4, 4}) == nullptr);
}

TEST_CASE("PredictorsSayWhenTheyHaveNothingToGoBy") {
    std::vector<float> scores(4);
    for (const char * name : {"previous-token", "path", "router", "look-ahead"}) {
        CAPTURE(name);
        CHECK_FALSE(make_predictor(name, {4, 4, 4})->score({}, scores.data()));
    }
}

TEST_CASE("PopularityCountsWhatTheTargetChose") {
    const auto predictor = make_predictor("popularity", {2, 2, 3});
    const std::vector<int32_t> first = {2, 1}, second = {2, 0}, none = {-1, -1};
    predictor->learn({}, chosen(first));
    predictor->learn({}, chosen(second));
    predictor->learn({}, chosen(none));
    CHECK(scores_of(predictor.get(), {}, 3) == std::vector<float>{1, 1, 2});
}

TEST_CASE("PreviousTokenNamesTheLastChoiceInTheRoutersOrder") {
    const auto predictor = make_predictor("previous-token", {4, 4, 4});
    const std::vector<int32_t> last = {3, 1};
    PredictionInput input;
    input.target_last = chosen(last);
    std::vector<int32_t> named;
    most_likely(scores_of(predictor.get(), input, 4).data(), 4, 2, &named);
    CHECK(named == last);
}

// Two experts a layer of two, one chosen. Of 10 tokens, present 0 leads to target 0 in 4 of 5, present 1 in 1 of 5.
TEST_CASE("ThePathStatisticIsBayesRuleOverTheExpertsOfTwoLayers") {
    const auto predictor = make_predictor("path", {2, 2, 2});
    const std::vector<std::vector<int32_t>> one = {{0}, {1}};
    const auto see = [&](size_t before, size_t present, size_t target, int n_times) {
        for (int i = 0; i < n_times; i++) {
            PredictionInput input;
            input.before = chosen(one[before]);
            input.present = chosen(one[present]);
            predictor->learn(input, chosen(one[target]));
        }
    };
    see(0, 0, 0, 4);
    see(0, 0, 1, 1);
    see(0, 1, 0, 1);
    see(0, 1, 1, 4);
    PredictionInput input;
    input.before = chosen(one[0]);
    input.present = chosen(one[0]);
    const std::vector<float> scores = scores_of(predictor.get(), input, 2);
    // P(e) = (5 + 1/2) / (10 + 1) = 1/2. P(0 | present 0) = (4 + 8 * 1/2) / (5 + 8); the layer before, always 0, says
    // (5 + 8 * 1/2) / (10 + 8) = 1/2, which is nothing new.
    const double of_0 = std::log(0.5) + std::log((8.0 / 13) / 0.5);
    const double of_1 = std::log(0.5) + std::log((5.0 / 13) / 0.5);
    CHECK(static_cast<double>(scores[0]) == doctest::Approx(of_0).epsilon(1e-5));
    CHECK(static_cast<double>(scores[1]) == doctest::Approx(of_1).epsilon(1e-5));
}

TEST_CASE("LookAheadsGiveTheLogitsThatTheyAreHanded") {
    const std::vector<float> router = {1, 2, 3}, trained = {3, 2, 1};
    PredictionInput input;
    input.router = router.data();
    input.look_ahead = trained.data();
    CHECK(scores_of(make_predictor("router", {3, 3, 3}).get(), input, 3) == router);
    CHECK(scores_of(make_predictor("look-ahead", {3, 3, 3}).get(), input, 3) == trained);
}

TEST_CASE("ACombinationWeighsBothAndDoesWithTheFirstAlone") {
    const auto predictor = make_predictor("router+path", {1, 1, 2});
    const std::vector<float> router = {0.0F, 0.1F};
    const std::vector<int32_t> only = {0};
    PredictionInput input;
    input.router = router.data();
    input.present = chosen(only);
    CHECK(scores_of(predictor.get(), input, 2) == router);
    for (int i = 0; i < 50; i++) {
        predictor->learn(input, chosen(only));
    }
    const std::vector<float> scores = scores_of(predictor.get(), input, 2);
    CHECK(scores[0] > scores[1]);
    const std::vector<float> certain = {0.0F, 9.0F};
    input.router = certain.data();
    const std::vector<float> others = scores_of(predictor.get(), input, 2);
    CHECK(others[1] > others[0]);
}

TEST_CASE("TheLikeliestComeFirstAndOfEqualsTheLowerNumber") {
    const std::vector<float> scores = {1, 5, 5, 7, 0};
    std::vector<int32_t> named;
    most_likely(scores.data(), scores.size(), 3, &named);
    CHECK(named == std::vector<int32_t>{3, 1, 2});
    most_likely(scores.data(), 2, 9, &named);
    CHECK(named == std::vector<int32_t>{1, 0});
}

TEST_CASE("ProbabilitiesOfBeingChosenAreAtMostOneAndSumToTheNumberChosen") {
    std::vector<float> even(8, 0.0F);
    chosen_probabilities(even.data(), even.size(), 2);
    for (const float probability : even) {
        CHECK(probability == doctest::Approx(0.25));
    }
    std::vector<float> certain = {100, 0, 0, 0};
    chosen_probabilities(certain.data(), certain.size(), 2);
    CHECK(certain[0] == 1.0F);
    CHECK(certain[1] < 1e-6F);
}

}  // namespace edgemoe
