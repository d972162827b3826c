#include "cache/eviction_policy.h"

#include <doctest/doctest.h>

#include <array>
#include <initializer_list>
#include <limits>
#include <numeric>
#include <random>
#include <set>

namespace edgemoe {
namespace {

class AllBut final : public EvictionPolicy::Filter {
public:
    explicit AllBut(std::initializer_list<ExpertId> refused = {}) : refused_(refused) {}
    bool is_evictable(ExpertId id) const override { return refused_.count(id) == 0; }

private:
    std::set<ExpertId> refused_;
};

void use(EvictionPolicy * policy, ExpertId id, int64_t step) {
    policy->on_use(id, {step, id.layer}, {});
}

void use_and_insert(EvictionPolicy * policy, ExpertId id, int64_t step) {
    use(policy, id, step);
    policy->on_insert(id, {step, id.layer});
}

ExpertId victim_of(EvictionPolicy * policy, PolicyTime now, const EvictionPolicy::Filter & filter = AllBut()) {
    ExpertId id{-1, -1};
    REQUIRE(policy->victim(now, filter, &id));
    return id;
}

TEST_CASE("EveryListedPolicyCanBeMadeAndOthersCannot") {
    const std::vector<std::string> names = eviction_policy_names();
    for (const char * expected : {"default", "lru", "lfu", "decayed-frequency", "frequency-distance", "next-use"}) {
        CHECK(std::set<std::string>(names.begin(), names.end()).count(expected) == 1);
    }
    for (const std::string & name : names) {
        const auto policy = make_eviction_policy(name, {2, 4}).value();
        REQUIRE(policy != nullptr);
        if (name != "default") {
            CHECK(policy->name() == name);
        }
    }
    CHECK_FALSE(make_eviction_policy("mru", {2, 4}).is_ok());
    CHECK_FALSE(make_eviction_policy("", {2, 4}).is_ok());
}

TEST_CASE("APolicyNamesOnlyInsertedAndEvictableExperts") {
    for (const std::string & name : eviction_policy_names()) {
        CAPTURE(name);
        const auto policy = make_eviction_policy(name, {2, 4}).value();
        ExpertId id;
        CHECK_FALSE(policy->victim({0, 0}, AllBut(), &id));
        use(policy.get(), {0, 3}, 0);
        CHECK_FALSE(policy->victim({0, 0}, AllBut(), &id));
        policy->on_insert({0, 3}, {0, 0});
        CHECK_FALSE(policy->victim({0, 0}, AllBut({ExpertId{0, 3}}), &id));
        CHECK(victim_of(policy.get(), {0, 0}) == ExpertId{0, 3});
        use_and_insert(policy.get(), {1, 1}, 0);
        CHECK(victim_of(policy.get(), {0, 1}, AllBut({ExpertId{0, 3}})) == ExpertId{1, 1});
        policy->on_remove({1, 1});
        policy->on_remove({0, 3});
        CHECK_FALSE(policy->victim({0, 1}, AllBut(), &id));
    }
}

TEST_CASE("LruNamesTheLeastRecentlyUsed") {
    const auto policy = make_eviction_policy("lru", {1, 4}).value();
    for (int32_t expert = 0; expert < 4; ++expert) {
        use_and_insert(policy.get(), {0, expert}, expert);
    }
    use(policy.get(), {0, 0}, 4);
    CHECK(victim_of(policy.get(), {4, 0}) == ExpertId{0, 1});
    CHECK(victim_of(policy.get(), {4, 0}, AllBut({ExpertId{0, 1}})) == ExpertId{0, 2});
}

TEST_CASE("LfuNamesTheLeastOftenUsedAndOfEqualsTheLowest") {
    const auto policy = make_eviction_policy("lfu", {2, 2}).value();
    for (const ExpertId id : {ExpertId{0, 0}, ExpertId{0, 1}, ExpertId{1, 0}, ExpertId{1, 1}}) {
        use_and_insert(policy.get(), id, 0);
    }
    use(policy.get(), {0, 0}, 1);
    CHECK(victim_of(policy.get(), {1, 1}) == ExpertId{0, 1});
    use(policy.get(), {0, 1}, 2);
    CHECK(victim_of(policy.get(), {2, 1}) == ExpertId{1, 0});
}

TEST_CASE("DecayedFrequencyForgetsWhatLfuNeverForgets") {
    for (const char * name : {"decayed-frequency", "lfu"}) {
        CAPTURE(name);
        const auto policy = make_eviction_policy(name, {1, 2}).value();
        use_and_insert(policy.get(), {0, 0}, 0);
        for (int64_t step = 1; step < 10; ++step) {
            use(policy.get(), {0, 0}, step);
        }
        policy->on_insert({0, 1}, {99, 0});
        for (int64_t step = 100; step < 105; ++step) {
            use(policy.get(), {0, 1}, step);
        }
        const int32_t expected = std::string(name) == "lfu" ? 1 : 0;
        CHECK(victim_of(policy.get(), {105, 0}) == ExpertId{0, expected});
    }
}

TEST_CASE("OfEquallyFrequentExpertsTheOneWhoseLayerIsFurthestLeaves") {
    for (const char * name : {"frequency-distance", "two-timescale"}) {
        CAPTURE(name);
        const auto policy = make_eviction_policy(name, {4, 2}).value();
        for (int32_t layer = 0; layer < 4; ++layer) {
            use_and_insert(policy.get(), {layer, 0}, 0);
        }
        for (int32_t serving = 0; serving < 4; ++serving) {
            CHECK(victim_of(policy.get(), {0, serving}) == ExpertId{serving, 0});
            CHECK(victim_of(policy.get(), {0, serving}, AllBut({ExpertId{serving, 0}})) ==
                  ExpertId{(serving + 3) % 4, 0});
        }
    }
}

TEST_CASE("TwoTimescaleKeepsBothTheLatestAndTheFavourite") {
    const auto policy = make_eviction_policy("two-timescale", {1, 3}).value();
    use_and_insert(policy.get(), {0, 0}, 0);  // the favourite
    for (int64_t step = 1; step < 12; ++step) {
        use(policy.get(), {0, 0}, step);
    }
    use_and_insert(policy.get(), {0, 1}, 14);
    use_and_insert(policy.get(), {0, 2}, 19);  // the latest
    use(policy.get(), {0, 2}, 20);
    CHECK(victim_of(policy.get(), {20, 0}) == ExpertId{0, 1});
}

TEST_CASE("OfAPromptTheExpertsOfItsEndStay") {
    const auto policy = make_eviction_policy("two-timescale", {1, 3}).value();
    const std::vector<int32_t> early{63, 62, 61};
    const std::vector<int32_t> late{0};
    policy->on_use({0, 0}, {0, 0}, {64, early.size(), early.data()});
    policy->on_use({0, 1}, {0, 0}, {64, late.size(), late.data()});
    policy->on_insert({0, 0}, {0, 0});
    policy->on_insert({0, 1}, {0, 0});
    CHECK(victim_of(policy.get(), {0, 0}) == ExpertId{0, 0});
    // One decoded token outweighs all of a prompt's.
    std::vector<int32_t> all(64);
    std::iota(all.begin(), all.end(), 0);
    policy->on_use({0, 1}, {1, 0}, {64, all.size(), all.data()});
    use_and_insert(policy.get(), {0, 2}, 2);
    CHECK(victim_of(policy.get(), {2, 0}, AllBut({ExpertId{0, 0}})) == ExpertId{0, 1});
}

TEST_CASE("FrequenciesFadeByTokensNotBySteps") {
    // Both experts were used once, expert 0 one step earlier; what lies between is a step of 64 tokens, or of one.
    for (const int32_t n_between : {1, 64}) {
        CAPTURE(n_between);
        const auto policy = make_eviction_policy("two-timescale", {1, 3}).value();
        for (int64_t step = 0; step < 8; ++step) {
            use(policy.get(), {0, 0}, step);
        }
        policy->on_insert({0, 0}, {7, 0});
        const std::vector<int32_t> last{0};
        policy->on_use({0, 1}, {8, 0}, {n_between, 1, last.data()});
        policy->on_insert({0, 1}, {8, 0});
        CHECK(victim_of(policy.get(), {8, 0}) == ExpertId{0, n_between == 1 ? 1 : 0});
    }
}

TEST_CASE("ASpeculativeReadIsWorthWhatItsUsesWere") {
    for (const char * name : {"decayed-frequency", "frequency-distance", "two-timescale"}) {
        CAPTURE(name);
        const auto policy = make_eviction_policy(name, {2, 2}).value();
        use_and_insert(policy.get(), {0, 0}, 0);
        use(policy.get(), {0, 1}, 3);
        policy->on_insert({1, 1}, {3, 0});
        CHECK(victim_of(policy.get(), {3, 0}) == ExpertId{1, 1});
    }
}

TEST_CASE("StepsMayStartAgain") {
    for (const std::string & name : eviction_policy_names()) {
        CAPTURE(name);
        const auto policy = make_eviction_policy(name, {1, 2}).value();
        use_and_insert(policy.get(), {0, 0}, 1000000);
        use_and_insert(policy.get(), {0, 1}, 0);
        use(policy.get(), {0, 1}, 1);
        CHECK(victim_of(policy.get(), {1, 0}) == ExpertId{0, 0});
    }
}

TEST_CASE("VictimsAreDeterministicAlsoWhenNothingIsWorthAnything") {
    for (const std::string & name : eviction_policy_names()) {
        CAPTURE(name);
        std::vector<std::vector<ExpertId>> orders;
        for (int repetition = 0; repetition < 2; ++repetition) {
            const auto policy = make_eviction_policy(name, {3, 8}).value();
            std::mt19937 random(7);
            for (int i = 0; i < 24; ++i) {
                policy->on_insert({i / 8, i % 8}, {0, 0});
            }
            for (int64_t step = 0; step < 50; ++step) {
                const auto layer = static_cast<int32_t>(random() % 3);
                use(policy.get(), {layer, static_cast<int32_t>(random() % 8)}, step);
            }
            std::vector<ExpertId> order;
            for (int i = 0; i < 24; ++i) {
                order.push_back(victim_of(policy.get(), {1000000, 0}));
                policy->on_remove(order.back());
            }
            orders.push_back(order);
        }
        CHECK(orders[0] == orders[1]);
        CHECK(std::set<ExpertId>(orders[0].begin(), orders[0].end()).size() == 24);
    }
}

TEST_CASE("NextUseEvictsWhatItsLayersScoresSayIsUsedLast") {
    const auto policy = make_eviction_policy("next-use", {1, 3}).value();
    for (int32_t expert = 0; expert < 3; ++expert) {
        use_and_insert(policy.get(), {0, expert}, 0);
    }
    policy->on_scores(0, std::array<float, 3>{0.5F, 0.1F, 0.4F}.data(), 3);
    CHECK(victim_of(policy.get(), {1, 0}) == ExpertId{0, 1});
    // Uses count for nothing while there are scores; new scores do.
    use(policy.get(), {0, 1}, 1);
    CHECK(victim_of(policy.get(), {1, 0}) == ExpertId{0, 1});
    policy->on_scores(0, std::array<float, 3>{0.5F, 0.45F, 0.05F}.data(), 3);
    CHECK(victim_of(policy.get(), {1, 0}) == ExpertId{0, 2});
}

TEST_CASE("AScoreThatIsNoNumberIsWorthNothing") {
    const auto policy = make_eviction_policy("next-use", {1, 3}).value();
    for (int32_t expert = 0; expert < 3; ++expert) {
        use_and_insert(policy.get(), {0, expert}, 0);
    }
    const float none = std::numeric_limits<float>::quiet_NaN();
    policy->on_scores(0, std::array<float, 3>{0.5F, none, 0.4F}.data(), 3);
    CHECK(victim_of(policy.get(), {1, 0}) == ExpertId{0, 1});
    policy->on_scores(0, std::array<float, 3>{none, none, none}.data(), 3);
    CHECK(victim_of(policy.get(), {1, 0}) == ExpertId{0, 0});
}

TEST_CASE("NextUseValuesALayerLessTheLaterItsTurnComes") {
    const auto policy = make_eviction_policy("next-use", {4, 1}).value();
    for (int32_t layer = 0; layer < 4; ++layer) {
        use_and_insert(policy.get(), {layer, 0}, 0);
        policy->on_scores(layer, std::array<float, 1>{0.5F}.data(), 1);
    }
    // Layer 1 is being served: its turn comes a whole cycle later, that of layer 2 at once.
    CHECK(victim_of(policy.get(), {1, 1}) == ExpertId{1, 0});
    CHECK(victim_of(policy.get(), {1, 1}, AllBut({{1, 0}})) == ExpertId{0, 0});
    // 0.5 * (1 - 0.3) is more than 0.4 * (1 - 0.3 / 4).
    policy->on_scores(2, std::array<float, 1>{0.37F}.data(), 1);
    CHECK(victim_of(policy.get(), {1, 1}) == ExpertId{2, 0});
}

TEST_CASE("NextUseGoesByFrequencyWhereScoresDoNotCome") {
    const auto policy = make_eviction_policy("next-use", {1, 2}).value();
    use_and_insert(policy.get(), {0, 0}, 0);
    use_and_insert(policy.get(), {0, 1}, 0);
    policy->on_scores(0, std::array<float, 2>{0.9F, 0.1F}.data(), 2);
    for (int64_t step = 1; step < 3; ++step) {
        use(policy.get(), {0, 1}, step);
        CHECK(victim_of(policy.get(), {step, 0}) == ExpertId{0, 1});
    }
    use(policy.get(), {0, 1}, 3);  // the scores are stale
    CHECK(victim_of(policy.get(), {3, 0}) == ExpertId{0, 0});
}

}  // namespace
}  // namespace edgemoe
