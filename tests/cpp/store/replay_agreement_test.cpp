// The simulator tells the truth: it counts what the real store counts on the same trace.
#include "fake_reader.h"
#include "simulate/replay.h"
#include "store/expert_store.h"
#include "store_testing.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <random>

namespace edgemoe::test {
namespace {

// Decode steps of `top_k` experts a layer, with unequal odds and some memory of the step before.
RoutingTrace make_trace(uint32_t seed, const Shape & shape, size_t top_k, int n_steps) {
    std::mt19937 random(seed);
    RoutingTrace trace;
    trace.shape = {shape.n_layers, shape.n_experts};
    trace.sizes = ExpertSizes::by_layer(
        shape.n_experts, std::vector<uint64_t>(static_cast<size_t>(shape.n_layers), shape.expert_bytes()));
    for (int i = 0; i < n_steps; ++i) {
        TraceStep step;
        for (int32_t layer = 0; layer < shape.n_layers; ++layer) {
            TraceLayer served{layer, {}, 1, {}};
            if (i > 0 && random() % 2 == 0) {
                const auto & before = trace.steps.back().layers[static_cast<size_t>(layer)].experts;
                served.experts.assign(before.begin(), before.begin() + 1);
            }
            while (served.experts.size() < top_k) {
                const auto n_experts = static_cast<uint32_t>(shape.n_experts);
                const auto expert = static_cast<int32_t>(std::min(random() % n_experts, random() % n_experts));
                if (std::count(served.experts.begin(), served.experts.end(), expert) == 0) {
                    served.experts.push_back(expert);
                }
            }
            for (int32_t expert = 0; expert < shape.n_experts; ++expert) {
                served.scores.push_back(static_cast<float>(random() % 1000) / 1000.0F);
            }
            step.layers.push_back(served);
        }
        trace.steps.push_back(step);
    }
    return trace;
}

}  // namespace

TEST_CASE("TheStoreCountsWhatReplayCounts") {
    constexpr size_t kTopK = 3;
    const Shape shape = {3, 8, 32, 64, 100, kTopK};
    const ExpertFile file(shape);
    for (const std::string & policy : eviction_policy_names()) {
        for (const uint64_t n_slots : {3, 5, 9, 14, 24}) {
            CAPTURE(policy);
            CAPTURE(n_slots);
            const RoutingTrace trace = make_trace(static_cast<uint32_t>(n_slots), shape, kTopK, 40);
            const Result<ReplayResult> replayed = replay(trace, policy, n_slots * shape.expert_bytes());
            REQUIRE(replayed.is_ok());

            const auto store = file.make_store(n_slots, std::make_unique<FakeReader>(), 8, policy);
            for (const TraceStep & step : trace.steps) {
                for (const TraceLayer & layer : step.layers) {
                    REQUIRE(serve(file, *store, layer.layer, kGateAndUp, layer.experts).is_ok());
                    store->score_next_use(layer.layer, layer.scores.data(), layer.scores.size());
                    REQUIRE(serve(file, *store, layer.layer, kDownOnly, layer.experts).is_ok());
                }
            }
            const StreamStats stats = store->stats();
            CHECK(stats.requests == replayed.value().requests);
            CHECK(stats.hits == replayed.value().hits);
            CHECK(stats.evictions == replayed.value().evictions);
            CHECK(stats.read_bytes == replayed.value().missed_bytes);
        }
    }
}

}  // namespace edgemoe::test
