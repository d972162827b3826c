// Prompts pass through the cache: each expert is read once a ubatch, and those that decode wants stay.
#include "fake_reader.h"
#include "store/expert_store.h"
#include "store_testing.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <numeric>
#include <random>
#include <string>

namespace edgemoe::test {
namespace {

constexpr int32_t kTopK = 2;
constexpr Shape kShape = {12, 24, 32, 32, 100, kTopK};
constexpr uint64_t kExperts = 12 * 24;

std::vector<int32_t> all_experts() {
    std::vector<int32_t> experts(static_cast<size_t>(kShape.n_experts));
    std::iota(experts.begin(), experts.end(), 0);
    return experts;
}

// A layer in the way of llama.cpp's graph: gate and up of all, then down of all.
void serve_layer(const ExpertFile & file, ExpertStore & store, int32_t layer, const std::vector<int32_t> & experts) {
    REQUIRE(serve(file, store, layer, kGateAndUp, experts).is_ok());
    REQUIRE(serve(file, store, layer, kDownOnly, experts).is_ok());
}

void run_prompt(const ExpertFile & file, ExpertStore & store, int n_ubatches) {
    for (int ubatch = 0; ubatch < n_ubatches; ++ubatch) {
        for (int32_t layer = 0; layer < kShape.n_layers; ++layer) {
            serve_layer(file, store, layer, all_experts());
        }
    }
}

// Hits of `n_tokens` tokens, whose experts are mostly the same few of each layer.
uint64_t run_decode(const ExpertFile & file, ExpertStore & store, uint32_t seed, int n_tokens) {
    std::mt19937 random(seed);
    const uint64_t hits = store.stats().hits;
    for (int token = 0; token < n_tokens; ++token) {
        for (int32_t layer = 0; layer < kShape.n_layers; ++layer) {
            std::vector<int32_t> experts;
            while (experts.size() < static_cast<size_t>(kTopK)) {
                const auto n = static_cast<uint32_t>(random() % 8 == 0 ? kShape.n_experts : 6);
                const auto expert = static_cast<int32_t>((random() % n + static_cast<uint32_t>(layer) * 5) %
                                                         static_cast<uint32_t>(kShape.n_experts));
                if (std::count(experts.begin(), experts.end(), expert) == 0) {
                    experts.push_back(expert);
                }
            }
            serve_layer(file, store, layer, experts);
        }
    }
    return store.stats().hits - hits;
}

}  // namespace

TEST_CASE("DecodeAfterALongPromptHitsAsOftenAsDecodeWithoutOne") {
    const ExpertFile file(kShape);
    for (const std::string policy : {"default", "frequency-distance"}) {
        for (const uint64_t n_slots : {100, 144, 200}) {  // of kExperts; what decode wants again and again are 72
            uint64_t hits_without = 0;
            uint64_t hits_after = 0;
            for (uint32_t seed = 1; seed <= 4; ++seed) {
                const auto without = file.make_store(n_slots, std::make_unique<FakeReader>(), 8, policy);
                run_decode(file, *without, seed, 60);
                hits_without += run_decode(file, *without, seed + 100, 30);
                const auto after = file.make_store(n_slots, std::make_unique<FakeReader>(), 8, policy);
                run_decode(file, *after, seed, 60);
                run_prompt(file, *after, 8);
                hits_after += run_decode(file, *after, seed + 100, 30);
            }
            CAPTURE(policy);
            CAPTURE(n_slots);
            MESSAGE(policy << ", " << n_slots << " slots: " << hits_after << " hits after a prompt, " << hits_without
                           << " without");
            CHECK(hits_after >= hits_without);
        }
    }
}

TEST_CASE("APromptReadsEachMissingExpertOnceAUbatch") {
    const ExpertFile file(kShape);
    for (const uint64_t n_slots : {3, 10, 100, 144, 287}) {
        CAPTURE(n_slots);
        const auto store = file.make_store(n_slots, std::make_unique<FakeReader>(), 8, "default");
        run_decode(file, *store, 1, 40);
        for (int ubatch = 0; ubatch < 3; ++ubatch) {
            const StreamStats before = store->stats();
            run_prompt(file, *store, 1);
            const StreamStats after = store->stats();
            const uint64_t n_missing = (after.requests - before.requests) - (after.hits - before.hits);
            CHECK(after.requests - before.requests == kExperts);
            CHECK(after.read_bytes - before.read_bytes <= n_missing * kShape.expert_bytes());
        }
    }
}

TEST_CASE("APromptOfAnEmptyCacheFillsItEvenlyOverTheLayers") {
    const ExpertFile file(kShape);
    const auto store = file.make_store(144, std::make_unique<FakeReader>(), 8, "default");
    run_prompt(file, *store, 1);
    CHECK(store->resident_experts() == 144);
    for (int32_t layer = 0; layer < kShape.n_layers; ++layer) {
        const uint64_t hits = store->stats().hits;
        serve_layer(file, *store, layer, all_experts());
        CHECK(store->stats().hits - hits >= 11);  // its share, 12, less that of the window
    }
}

TEST_CASE("ExpertsOfAPromptAreReadInTheOrderOfTheFile") {
    // Readers start reads in the order of submission, and the store queues chunks in the order of its experts.
    class OrderReader final : public AsyncReader {
    public:
        explicit OrderReader(std::vector<uint64_t> * offsets) : offsets_(offsets) {}
        void submit(const std::vector<ReadRequest> & requests) override {
            for (const ReadRequest & request : requests) {
                offsets_->push_back(request.offset);
            }
            inner_.submit(requests);
        }
        size_t reap(std::vector<ReadCompletion> * completions) override { return inner_.reap(completions); }
        size_t wait(std::vector<ReadCompletion> * completions) override { return inner_.wait(completions); }
        void cancel(uint64_t) override {}
        void promote(uint64_t) override {}
        const char * name() const override { return "order"; }

    private:
        std::vector<uint64_t> * offsets_;
        FakeReader inner_;
    };
    const ExpertFile file(kShape);
    std::vector<uint64_t> offsets;
    const auto store = file.make_store(12, std::make_unique<OrderReader>(&offsets), 8, "default");
    REQUIRE(serve(file, *store, 0, kGateAndUp, all_experts()).is_ok());
    CHECK(offsets.size() >= static_cast<size_t>(2 * kShape.n_experts));
    CHECK(std::is_sorted(offsets.begin(), offsets.end()));
}

}  // namespace edgemoe::test
