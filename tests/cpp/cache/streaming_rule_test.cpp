#include "cache/streaming_rule.h"

#include <doctest/doctest.h>

namespace edgemoe {
namespace {

constexpr uint64_t kSlot = 1000;
const std::vector<uint64_t> kLayers = {64 * kSlot, 0, 64 * kSlot, 128 * kSlot};
constexpr int32_t kUsed = 4;

}  // namespace

TEST_CASE("OneTokensExpertsSettle") {
    const StreamingRule rule(16 * kSlot, kLayers, kSlot, kUsed);
    CHECK_FALSE(rule.limits(0, 4, 4 * kSlot).has_value());
    CHECK(rule.limits(0, 5, 5 * kSlot).has_value());
}

TEST_CASE("ExpertsThatFitIntoTheirLayersShareSettle") {
    const StreamingRule rule(128 * kSlot, kLayers, kSlot, kUsed);  // half of all, an 16th of it for the window
    CHECK_FALSE(rule.limits(0, 30, 30 * kSlot).has_value());
    const auto limits = rule.limits(0, 31, 31 * kSlot);
    REQUIRE(limits.has_value());
    CHECK(limits->layer_bytes == 30 * kSlot);
    CHECK(limits->window_bytes == 8 * kSlot);
    CHECK(rule.limits(3, 128, 128 * kSlot)->layer_bytes == 60 * kSlot);
}

TEST_CASE("WhereEverythingFitsEverythingSettles") {
    CHECK_FALSE(StreamingRule(256 * kSlot, kLayers, kSlot, kUsed).limits(0, 64, 64 * kSlot).has_value());
    CHECK(StreamingRule(255 * kSlot, kLayers, kSlot, kUsed).limits(0, 64, 64 * kSlot).has_value());
}

TEST_CASE("TheWindowHoldsAnExpertAndLeavesOthersTheirHalf") {
    CHECK(StreamingRule(kSlot, kLayers, kSlot, kUsed).limits(0, 64, 64 * kSlot)->window_bytes == kSlot);
    CHECK(StreamingRule(6 * kSlot, kLayers, kSlot, kUsed).limits(0, 64, 64 * kSlot)->window_bytes == 3 * kSlot);
    CHECK(StreamingRule(160 * kSlot, kLayers, kSlot, kUsed).limits(0, 64, 64 * kSlot)->window_bytes == 10 * kSlot);
}

}  // namespace edgemoe
