// Streamed products against ggml's own MUL_MAT_ID on the CPU, over weights in the buffer type that ggml itself would
// choose.
#include "backend/expert_matmul.h"

#include "backend/graph_compute.h"
#include "backend_testing.h"
#include "faulty_reader.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <numeric>

namespace edgemoe::test {
namespace {

constexpr int64_t kUsed = 2;  // experts a token

// Gate and up over one input, down over an input a slot, as llama.cpp's graphs have them. `weights` allocates nothing.
struct Products {
    enum class Chain : uint8_t { kNo, kYes };  // down's input is what gate and up lead to, and all that counts is down

    Products(const RandomLayer & layer, int64_t n_tokens, uint32_t seed, Chain chain = Chain::kNo)
        : weights(ggml_init({16 * ggml_tensor_overhead(), nullptr, true})),
          activations(ggml_init({size_t{32} << 20, nullptr, false})) {
        std::mt19937 random(seed);
        const auto filled = [&](int64_t columns, int64_t slots) {
            ggml_tensor * tensor = ggml_new_tensor_3d(activations.get(), GGML_TYPE_F32, columns, slots, n_tokens);
            const std::vector<float> values = random_floats(&random, static_cast<size_t>(ggml_nelements(tensor)));
            std::memcpy(tensor->data, values.data(), ggml_nbytes(tensor));
            return tensor;
        };
        ggml_tensor * shared = filled(layer.part(Projection::kGate).columns, 1);
        ggml_tensor * own = filled(layer.part(Projection::kDown).columns, kUsed);
        // llama.cpp's ids are a view of the sorted experts: rows of kUsed, kExperts apart.
        ggml_tensor * sorted = ggml_new_tensor_2d(activations.get(), GGML_TYPE_I32, RandomLayer::kExperts, n_tokens);
        std::vector<int32_t> order(RandomLayer::kExperts);
        std::iota(order.begin(), order.end(), 0);
        for (int64_t token = 0; token < n_tokens; ++token) {
            std::shuffle(order.begin(), order.end(), random);
            std::memcpy(static_cast<char *>(sorted->data) + token * static_cast<int64_t>(sorted->nb[1]), order.data(),
                        sorted->nb[1]);
        }
        ids = ggml_view_2d(activations.get(), sorted, kUsed, n_tokens, sorted->nb[1], 0);
        graph = ggml_new_graph_custom(activations.get(), 16, false);
        for (const Projection projection : {Projection::kGate, Projection::kUp, Projection::kDown}) {
            stacks.push_back(layer.declare(weights.get(), projection));
            if (chain == Chain::kYes && projection == Projection::kDown) {
                own = ggml_swiglu_split(activations.get(), nodes[0], nodes[1]);
            }
            nodes.push_back(
                ggml_mul_mat_id(activations.get(), stacks.back(), projection == Projection::kDown ? own : shared, ids));
            ggml_build_forward_expand(graph, nodes.back());
        }
        if (chain == Chain::kYes) {
            nodes.erase(nodes.begin(), nodes.begin() + 2);
        }
    }

    std::vector<float> results() const {
        std::vector<float> values;
        for (const ggml_tensor * node : nodes) {
            const auto * data = static_cast<const float *>(node->data);
            values.insert(values.end(), data, data + ggml_nelements(node));
        }
        return values;
    }

    void spoil() const {
        for (const ggml_tensor * node : nodes) {
            std::memset(node->data, 0xFF, ggml_nbytes(node));
        }
    }

    Context weights;
    Context activations;
    ggml_tensor * ids = nullptr;
    ggml_cgraph * graph = nullptr;
    std::vector<ggml_tensor *> stacks;
    std::vector<ggml_tensor *> nodes;
};

std::vector<float> by_ggml(const RandomLayer & layer, const ExpertLayout & layout, int64_t n_tokens, int n_threads,
                           Products::Chain chain = Products::Chain::kNo) {
    Products products(layer, n_tokens, 11, chain);
    std::vector<Buffer> buffers;
    for (size_t i = 0; i < products.stacks.size(); ++i) {
        const Projection projection = std::array{Projection::kGate, Projection::kUp, Projection::kDown}[i];
        ggml_tensor one;
        layout.describe(layer.part(projection), layer.stack(projection).data(), 0, layer.part(projection).rows, &one);
        ggml_tensor * stack = products.stacks[i];
        ggml_backend_buffer_type_t type = ggml_backend_buffer_get_type(one.buffer);
        buffers.emplace_back(ggml_backend_buft_alloc_buffer(type, ggml_backend_buft_get_alloc_size(type, stack)));
        REQUIRE(ggml_backend_tensor_alloc(buffers.back().get(), stack,
                                          ggml_backend_buffer_get_base(buffers.back().get())) == GGML_STATUS_SUCCESS);
        ggml_backend_tensor_set(stack, layer.stack(projection).data(), 0, ggml_nbytes(stack));
    }
    const Backend cpu(ggml_backend_cpu_init());
    ggml_backend_cpu_set_n_threads(cpu.get(), n_threads);
    products.spoil();
    REQUIRE(ggml_backend_graph_compute(cpu.get(), products.graph) == GGML_STATUS_SUCCESS);
    return products.results();
}

// The same products over weights that are streamed.
struct Stream {
    Stream(const RandomLayer & layer, const ExpertLayout & layout, uint64_t n_slots, int n_threads, FaultPlan plan,
           Prefetch prefetch = Prefetch::kOff)
        : n_threads_(n_threads) {
        ExpertStoreOptions options;
        options.cache_bytes = n_slots * ExpertStore::least_cache_bytes(layer.index());
        options.policy = make_eviction_policy("default", {RandomLayer::kLayer + 1, RandomLayer::kExperts}).value();
        options.reader = std::make_unique<FaultyReader>(make_thread_reader(2), plan);
        options.n_staging = 4;
        options.prefetch = prefetch;
        Result<std::unique_ptr<ExpertStore>> made = ExpertStore::create(layer.index(), layout, std::move(options));
        REQUIRE_MESSAGE(made.is_ok(), made.status().message());
        store = std::move(made).value();
        ggml_threadpool_params params = ggml_threadpool_params_default(n_threads);
        threads.reset(ggml_threadpool_new(&params));
        type.set_streams(store.get(), &layout, threads.get());
    }

    void place(const Products & products) {
        for (ggml_tensor * stack : products.stacks) {
            buffers.emplace_back(ggml_backend_buft_alloc_buffer(type.handle(), ggml_nbytes(stack)));
            REQUIRE(ggml_backend_tensor_alloc(buffers.back().get(), stack,
                                              ggml_backend_buffer_get_base(buffers.back().get())) ==
                    GGML_STATUS_SUCCESS);
        }
        products.spoil();
    }

    std::vector<float> compute(const Products & products) {
        ExpertMatmul matmul;
        Status status = matmul.compute(type, {{products.nodes[0], products.nodes[1]}, nullptr, nullptr}, n_threads_);
        REQUIRE_MESSAGE(status.is_ok(), status.message());
        status = matmul.compute(type, {{products.nodes[2]}, nullptr, nullptr}, n_threads_);
        REQUIRE_MESSAGE(status.is_ok(), status.message());
        return products.results();
    }

    ThreadPool threads;
    std::unique_ptr<ExpertStore> store;
    ExpertBufferType type;
    std::vector<Buffer> buffers;
    int n_threads_;
};

bool same_bits(const std::vector<float> & a, const std::vector<float> & b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

}  // namespace

TEST_CASE("ProductsEqualGgmlsOwnToTheLastBit") {
    for (const ggml_type type : kTypes) {
        const RandomLayer layer(type, 512, 256);
        const ExpertLayout layout(layer.index());
        for (const int64_t n_tokens : {1, 40}) {
            const std::vector<float> expected = by_ggml(layer, layout, n_tokens, 2);
            CHECK(same_bits(by_ggml(layer, layout, n_tokens, 1), expected));
            for (const int n_threads : {1, 2, 3}) {
                for (const uint64_t n_slots : {2, 8}) {
                    CAPTURE(ggml_type_name(type));
                    CAPTURE(n_tokens);
                    CAPTURE(n_threads);
                    CAPTURE(n_slots);
                    FaultPlan plan;
                    plan.seed = static_cast<uint64_t>(n_threads);
                    plan.reorder = true;
                    plan.hold_back = 3;
                    Stream stream(layer, layout, n_slots, n_threads, plan);
                    Products products(layer, n_tokens, 11);
                    stream.place(products);
                    CHECK(same_bits(stream.compute(products), expected));
                    products.spoil();
                    CHECK(same_bits(stream.compute(products), expected));  // from what is resident now
                }
            }
        }
    }
}

TEST_CASE("TheRoutingIsToldOncePerLayerAndUbatch") {
    struct Told final : RoutingObserver {
        void on_routing(int32_t layer, int32_t n_slots, const std::vector<int32_t> & experts) override {
            CHECK(layer == RandomLayer::kLayer);
            CHECK(n_slots == kUsed);
            calls.push_back(experts);
        }
        std::vector<std::vector<int32_t>> calls;
    };
    const RandomLayer layer(GGML_TYPE_Q4_0, 64, 32);
    const ExpertLayout layout(layer.index());
    Stream stream(layer, layout, 8, 2, {});
    Told told;
    std::vector<std::vector<int32_t>> expected;
    for (const int64_t n_tokens : {1, 5}) {
        Products products(layer, n_tokens, 11);
        stream.place(products);
        stream.type.set_observer(&told);
        (void)stream.compute(products);  // gate and up, then down
        stream.type.set_observer(nullptr);
        (void)stream.compute(products);
        std::vector<int32_t> routed;
        for (int64_t token = 0; token < n_tokens; ++token) {
            const auto * row = reinterpret_cast<const int32_t *>(static_cast<const char *>(products.ids->data) +
                                                                 token * static_cast<int64_t>(products.ids->nb[1]));
            routed.insert(routed.end(), row, row + kUsed);
        }
        expected.push_back(routed);
    }
    CHECK(told.calls == expected);
}

TEST_CASE("WhatAPredictorSaysChangesNoBit") {
    // Names experts at random, for the layer's next turn.
    struct Guesses final : LayerPredictor {
        void predict(int32_t layer, const float * ffn_input, const int32_t * ids, const float * weights, int n_ids,
                     ExpertStore & store) override {
            CHECK(layer == RandomLayer::kLayer);
            CHECK(ffn_input != nullptr);
            CHECK(weights == nullptr);
            CHECK(n_ids == kUsed);
            last_ids.assign(ids, ids + n_ids);
            std::vector<ExpertForecast> experts;
            for (int i = 0; i < 3; ++i) {
                experts.push_back({{layer, static_cast<int32_t>(random() % RandomLayer::kExperts)}, 0.9F, 1});
            }
            store.forecast(experts);
            n_calls++;
        }
        std::mt19937 random{5};
        std::vector<int32_t> last_ids;
        int n_calls = 0;
    };
    const RandomLayer layer(GGML_TYPE_Q4_0, 512, 256);
    const ExpertLayout layout(layer.index());
    for (const int64_t n_tokens : {1, 40}) {
        const std::vector<float> expected = by_ggml(layer, layout, n_tokens, 2);
        for (const Prefetch prefetch : {Prefetch::kOff, Prefetch::kAuto, Prefetch::kAlways}) {
            for (const int n_threads : {1, 3}) {
                CAPTURE(n_tokens);
                CAPTURE(n_threads);
                FaultPlan plan;
                plan.reorder = true;
                Stream stream(layer, layout, 5, n_threads, plan, prefetch);
                Guesses guesses;
                stream.type.set_predictor(&guesses);
                Products products(layer, n_tokens, 11);
                stream.place(products);
                for (int pass = 0; pass < 8; ++pass) {
                    products.spoil();
                    CHECK(same_bits(stream.compute(products), expected));
                }
                CHECK(guesses.n_calls == 8);  // once a ubatch: for gate and up
                const auto * last =
                    reinterpret_cast<const int32_t *>(static_cast<const char *>(products.ids->data) +
                                                      (n_tokens - 1) * static_cast<int64_t>(products.ids->nb[1]));
                CHECK(guesses.last_ids == std::vector<int32_t>(last, last + kUsed));
                CHECK((stream.store->stats().prefetch.forecasts > 0) == (prefetch != Prefetch::kOff));
            }
        }
    }
}

// As in a packed file: the tensor that llama.cpp sees has the first expert's type, and every expert its own.
TEST_CASE("ExpertsOfDifferentTypesInOneLayerAreEachMultipliedAsGgmlMultipliesTheirs") {
    std::vector<std::unique_ptr<RandomLayer>> layers;
    for (const ggml_type type : {GGML_TYPE_Q4_K, GGML_TYPE_F16, GGML_TYPE_Q2_K, GGML_TYPE_IQ4_NL, GGML_TYPE_Q8_0}) {
        layers.push_back(std::make_unique<RandomLayer>(type, 512, 256));
    }
    const RandomLayer mixed(layers);
    const ExpertLayout layout(mixed.index());
    for (const int64_t n_tokens : {1, 40}) {
        std::vector<std::vector<float>> by_layer;
        for (const auto & layer : layers) {
            by_layer.push_back(by_ggml(*layer, ExpertLayout(layer->index()), n_tokens, 2));
        }
        Products products(mixed, n_tokens, 11);
        std::vector<float> expected;
        for (const ggml_tensor * node : products.nodes) {
            for (int64_t row = 0; row < n_tokens * kUsed; ++row) {
                const auto * ids = reinterpret_cast<const int32_t *>(static_cast<const char *>(products.ids->data) +
                                                                     row / kUsed * products.ids->nb[1]);
                const auto & from = by_layer[static_cast<size_t>(ids[row % kUsed]) % layers.size()];
                const auto first = static_cast<std::ptrdiff_t>(expected.size());
                expected.insert(expected.end(), from.begin() + first, from.begin() + first + node->ne[0]);
            }
        }
        for (const int n_threads : {1, 2}) {
            for (const uint64_t n_slots : {2, 8}) {
                CAPTURE(n_tokens);
                CAPTURE(n_threads);
                CAPTURE(n_slots);
                FaultPlan plan;
                plan.reorder = true;
                Stream stream(mixed, layout, n_slots, n_threads, plan);
                Products again(mixed, n_tokens, 11);
                stream.place(again);
                CHECK(same_bits(stream.compute(again), expected));
            }
        }
    }
}

TEST_CASE("RowsThatThreadsCannotShareEvenlyAreAllComputed") {
    for (const ggml_type type : {GGML_TYPE_Q4_0, GGML_TYPE_Q8_0, GGML_TYPE_F16}) {
        // 160 rows are cut into units of 64 for three threads, and the last is shorter.
        for (const int64_t hidden : {96, 160}) {
            for (const int64_t width : {32, 64}) {
                CAPTURE(ggml_type_name(type));
                CAPTURE(hidden);
                CAPTURE(width);
                const RandomLayer layer(type, width, hidden);
                const ExpertLayout layout(layer.index());
                for (const int64_t n_tokens : {1, 5}) {
                    Stream stream(layer, layout, 3, 3, {});
                    Products products(layer, n_tokens, 11);
                    stream.place(products);
                    CHECK(same_bits(stream.compute(products), by_ggml(layer, layout, n_tokens, 2)));
                }
            }
        }
    }
}

TEST_CASE("MatricesOfSeveralReadsAreMultipliedWhole") {
    const RandomLayer layer(GGML_TYPE_F32, 2048, 512);  // 4 MiB each
    const ExpertLayout layout(layer.index());
    FaultPlan plan;
    plan.reorder = true;
    Stream stream(layer, layout, 2, 2, plan);
    Products products(layer, 6, 11);
    stream.place(products);
    CHECK(same_bits(stream.compute(products), by_ggml(layer, layout, 6, 2)));
}

TEST_CASE("AGraphIsComputedAsItsProductsAre") {
    const RandomLayer layer(GGML_TYPE_Q4_K, 256, 256);
    const ExpertLayout layout(layer.index());
    for (const int64_t n_tokens : {1, 7}) {
        Stream stream(layer, layout, 3, 2, {});
        Products products(layer, n_tokens, 11);
        stream.place(products);
        GraphComputer computer;
        computer.set_n_threads(2);
        CHECK(computer.compute(products.graph) == GGML_STATUS_SUCCESS);
        CHECK(same_bits(products.results(), by_ggml(layer, layout, n_tokens, 2)));
    }
}

TEST_CASE("ActivationAndDownFollowWithinEachExpert") {
    for (const ggml_type type : {GGML_TYPE_Q4_0, GGML_TYPE_Q6_K, GGML_TYPE_F16}) {
        const RandomLayer layer(type, 512, 256);
        const ExpertLayout layout(layer.index());
        for (const int64_t n_tokens : {1, 3, 40}) {
            const std::vector<float> expected = by_ggml(layer, layout, n_tokens, 2, Products::Chain::kYes);
            for (const int n_threads : {1, 2, 3}) {
                for (const uint64_t n_slots : {2, 8}) {
                    CAPTURE(ggml_type_name(type));
                    CAPTURE(n_tokens);
                    CAPTURE(n_threads);
                    CAPTURE(n_slots);
                    FaultPlan plan;
                    plan.seed = static_cast<uint64_t>(n_threads);
                    plan.reorder = true;
                    plan.hold_back = 3;
                    Stream stream(layer, layout, n_slots, n_threads, plan);
                    Products products(layer, n_tokens, 11, Products::Chain::kYes);
                    stream.place(products);
                    // Where ggml's allocator may put it, since the results of gate are not needed after the
                    // activation.
                    ggml_tensor * down = products.nodes.front();
                    std::vector<char> place(ggml_nbytes(down));
                    down->data = down->src[1]->src[0]->data = place.data();
                    GraphComputer computer;
                    computer.set_n_threads(n_threads);
                    for (int time = 0; time < 2; time++) {
                        REQUIRE(computer.compute(products.graph) == GGML_STATUS_SUCCESS);
                        CHECK(same_bits(products.results(), expected));
                    }
                }
            }
        }
    }
}

TEST_CASE("AFailedReadFailsTheGraphWithItsReasonAndTheNextGraphIsRight") {
    const RandomLayer layer(GGML_TYPE_Q4_0, 256, 256);
    const ExpertLayout layout(layer.index());
    const std::vector<float> expected = by_ggml(layer, layout, 40, 2);
    for (const uint64_t failing : {0, 1, 7, 15}) {
        CAPTURE(failing);
        FaultPlan plan;
        plan.fail_read = failing;
        Stream stream(layer, layout, 4, 3, plan);
        Products products(layer, 40, 11);
        stream.place(products);
        GraphComputer computer;
        computer.set_n_threads(3);
        CHECK(computer.compute(products.graph) == GGML_STATUS_FAILED);
        const Status failure = stream.type.take_failure();
        CHECK(failure.code() == StatusCode::kIo);
        CHECK(failure.message().find("Input/output error (blk.3 expert ") != std::string::npos);
        CHECK(computer.compute(products.graph) == GGML_STATUS_SUCCESS);
        CHECK(stream.type.take_failure().is_ok());
        CHECK(same_bits(products.results(), expected));
    }
}

TEST_CASE("ACancelledGraphIsAbortedInsideALayerAndTheNextGraphIsRight") {
    const RandomLayer layer(GGML_TYPE_Q4_0, 256, 256);
    const ExpertLayout layout(layer.index());
    Stream stream(layer, layout, 4, 2, {});
    Products products(layer, 40, 11);
    stream.place(products);
    std::atomic<bool> cancelled{true};
    stream.type.set_cancel_flag(&cancelled);
    GraphComputer computer;
    computer.set_n_threads(2);
    CHECK(computer.compute(products.graph) == GGML_STATUS_ABORTED);
    CHECK(stream.type.take_failure().code() == StatusCode::kCancelled);
    const std::vector<float> unfinished = products.results();
    CHECK(std::isnan(unfinished.front()));  // not one unit was computed
    cancelled = false;
    CHECK(computer.compute(products.graph) == GGML_STATUS_SUCCESS);
    CHECK(same_bits(products.results(), by_ggml(layer, layout, 40, 2)));
    stream.type.set_cancel_flag(nullptr);
}

TEST_CASE("AnExpertThatTheRouterCannotNameIsAnErrorAndNotACrash") {
    const RandomLayer layer(GGML_TYPE_Q8_0, 64, 64);
    const ExpertLayout layout(layer.index());
    for (const int32_t id : {-1, RandomLayer::kExperts, INT32_MAX}) {
        CAPTURE(id);
        Stream stream(layer, layout, 4, 2, {});
        Products products(layer, 2, 11);
        stream.place(products);
        static_cast<int32_t *>(products.ids->data)[1] = id;
        ExpertMatmul matmul;
        const Status status = matmul.compute(stream.type, {{products.nodes[0]}, nullptr, nullptr}, 2);
        CHECK(status.code() == StatusCode::kInternal);
        CHECK(status.message().find(std::to_string(id)) != std::string::npos);
    }
}

}  // namespace edgemoe::test
