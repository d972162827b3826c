#include "cache/retention_table.h"

#include <doctest/doctest.h>

#include <limits>
#include <random>

namespace edgemoe {
namespace {

class Unrefused final : public EvictionPolicy::Filter {
public:
    explicit Unrefused(const std::vector<bool> & refused) : refused_(refused) {}
    bool is_evictable(ExpertId id) const override { return !refused_[static_cast<size_t>(id.layer * 8 + id.expert)]; }

private:
    const std::vector<bool> & refused_;
};

TEST_CASE("TheRememberedLeastIsTheLeastOfAFullSearch") {
    constexpr PolicyShape kShape{3, 8};
    std::mt19937 random(11);
    RetentionTable table(kShape);
    std::vector<bool> inserted(24);
    std::vector<bool> refused(24);
    const std::vector<float> weights{1.0F, 0.5F, 0.75F};
    for (int round = 0; round < 5000; ++round) {
        const auto at = static_cast<size_t>(random() % 24);
        const ExpertId id{static_cast<int32_t>(at) / 8, static_cast<int32_t>(at) % 8};
        switch (random() % 5) {
            case 0:
                table.set_value(id, static_cast<float>(random() % 16));
                break;
            case 1:
                table.scale_layer(id.layer, 0.5F);
                break;
            case 2:
                refused[at] = !refused[at];
                break;
            case 3:
                table.rewrite_layer(id.layer)[id.expert] += 1.0F;
                break;
            default:
                inserted[at] ? table.remove(id) : table.insert(id);
                inserted[at] = !inserted[at];
        }
        float least_score = std::numeric_limits<float>::infinity();
        ExpertId expected{-1, -1};
        for (int32_t i = 0; i < 24; ++i) {
            const ExpertId candidate{i / 8, i % 8};
            const float score = table.value(candidate) * weights[static_cast<size_t>(candidate.layer)];
            if (inserted[static_cast<size_t>(i)] && !refused[static_cast<size_t>(i)] && score < least_score) {
                least_score = score;
                expected = candidate;
            }
        }
        ExpertId found{-1, -1};
        REQUIRE(table.least(weights, Unrefused(refused), &found) == (expected != ExpertId{-1, -1}));
        REQUIRE(found == expected);
    }
}

TEST_CASE("ValuesThatFadeFarEnoughBecomeZero") {
    RetentionTable table({1, 2});
    table.set_value({0, 1}, 1.0F);
    table.scale_layer(0, 1e-15F);
    CHECK(table.value({0, 1}) > 0.0F);
    table.scale_layer(0, 1e-15F);
    CHECK(table.value({0, 1}) == 0.0F);
}

}  // namespace
}  // namespace edgemoe
