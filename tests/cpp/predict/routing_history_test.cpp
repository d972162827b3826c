#include "predict/routing_history.h"

#include <doctest/doctest.h>

#include <algorithm>

namespace edgemoe {

TEST_CASE("FrequenciesFadeByEachDecay") {
    RoutingHistory history(3);
    const std::vector<int32_t> first = {1, 2}, second = {1, -1};
    history.add({first.data(), first.size()});
    history.add({second.data(), second.size()});
    const std::vector<float> & frequencies = history.frequencies();
    REQUIRE(frequencies.size() == 9);
    for (size_t d = 0; d < kHistoryDecays.size(); d++) {
        const float decay = kHistoryDecays[d];
        CHECK(frequencies[d * 3] == 0.0F);
        CHECK(frequencies[d * 3 + 1] == doctest::Approx((1 - decay) * (1 + decay)));
        CHECK(frequencies[d * 3 + 2] == doctest::Approx((1 - decay) * decay));
    }
    history.clear();
    CHECK(std::all_of(frequencies.begin(), frequencies.end(), [](float value) { return value == 0.0F; }));
}

TEST_CASE("AnExpertThatEveryTokenChoosesHasFrequencyOne") {
    RoutingHistory history(1);
    const int32_t only = 0;
    for (int i = 0; i < 3000; i++) {
        history.add({&only, 1});
    }
    for (const float frequency : history.frequencies()) {
        CHECK(frequency == doctest::Approx(1.0));
    }
}

}  // namespace edgemoe
