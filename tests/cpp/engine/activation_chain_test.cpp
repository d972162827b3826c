#include "engine/activation_chain.h"

#include <doctest/doctest.h>

#include <memory>

namespace edgemoe {
namespace {

constexpr int64_t kWidth = 32, kUsed = 2, kTokens = 3, kExperts = 4;

// A graph of one layer's experts, without data.
class Graph {
public:
    Graph() : context_(ggml_init({ggml_tensor_overhead() * 64, nullptr, true})) {}
    ~Graph() { ggml_free(context_); }
    Graph(const Graph &) = delete;
    Graph & operator=(const Graph &) = delete;

    ggml_context * context() { return context_; }
    ggml_tensor * experts(const char * name, int64_t columns, int64_t rows) {
        ggml_tensor * tensor = ggml_new_tensor_3d(context_, GGML_TYPE_F32, columns, rows, kExperts);
        return ggml_set_name(tensor, name);
    }
    ggml_tensor * product(const char * name, int64_t rows) {
        return ggml_mul_mat_id(context_, experts(name, kWidth, rows), input, ids);
    }
    const ggml_tensor * down(ggml_tensor * activation) {
        return ggml_mul_mat_id(context_, experts("blk.2.ffn_down_exps.weight", activation->ne[0], kWidth), activation,
                               ids);
    }
    ggml_tensor * leaf(const char * name, int64_t ne0, int64_t ne1) {
        return ggml_set_name(ggml_new_tensor_2d(context_, GGML_TYPE_F32, ne0, ne1), name);
    }

private:
    ggml_context * context_;

public:
    ggml_tensor * input = ggml_new_tensor_3d(context_, GGML_TYPE_F32, kWidth, 1, kTokens);
    ggml_tensor * ids = ggml_new_tensor_2d(context_, GGML_TYPE_I32, kUsed, kTokens);
};

constexpr const char * kGate = "blk.2.ffn_gate_exps.weight";
constexpr const char * kUp = "blk.2.ffn_up_exps.weight";

using Kind = ActivationStep::Kind;

}  // namespace

TEST_CASE("AGatedActivationIsTwoProductsAndOneOperation") {
    Graph graph;
    ggml_tensor * up = graph.product(kUp, 64);
    ggml_tensor * gate = graph.product(kGate, 64);
    const ActivationChain chain = ActivationChain::of(graph.down(ggml_swiglu_split(graph.context(), gate, up)), 2);
    REQUIRE(chain.steps.size() == 3);
    CHECK(chain.steps[0].kind == Kind::kProduct);
    CHECK(chain.steps[0].projection == Projection::kGate);
    CHECK(chain.steps[1].projection == Projection::kUp);
    CHECK(chain.steps[2].op == GGML_OP_GLU);
    CHECK(chain.steps[2].params[0] == GGML_GLU_OP_SWIGLU);
    CHECK(chain.steps[2].src == std::array<int32_t, 2>{0, 1});
    CHECK(chain.steps[2].width == 64);
}

TEST_CASE("HalvesOfAFusedProductAreParts") {
    Graph graph;
    ggml_tensor * both = graph.product("blk.2.ffn_gate_up_exps.weight", 128);
    ggml_tensor * gate = ggml_view_3d(graph.context(), both, 64, kUsed, kTokens, both->nb[1], both->nb[2], 0);
    ggml_tensor * up =
        ggml_view_3d(graph.context(), both, 64, kUsed, kTokens, both->nb[1], both->nb[2], 64 * both->nb[0]);
    const ActivationChain chain = ActivationChain::of(graph.down(ggml_geglu_split(graph.context(), gate, up)), 2);
    REQUIRE(chain.steps.size() == 4);
    CHECK(chain.steps[0].projection == Projection::kGateUp);
    CHECK(chain.steps[1].kind == Kind::kPart);
    CHECK(chain.steps[1].first == 0);
    CHECK(chain.steps[2].first == 64);
    CHECK(chain.steps[2].width == 64);
}

TEST_CASE("BiasesAndScalesOfExpertsAreNamed") {
    Graph graph;
    ggml_tensor * scale = graph.leaf("blk.2.ffn_up_exps.scale", kExperts, 1);
    ggml_tensor * repeated = ggml_repeat_4d(graph.context(), ggml_reshape_3d(graph.context(), scale, 1, kExperts, 1), 1,
                                            kExperts, kTokens, 1);
    ggml_tensor * up =
        ggml_mul(graph.context(), graph.product(kUp, 64), ggml_get_rows(graph.context(), repeated, graph.ids));
    up = ggml_add_id(graph.context(), up, graph.leaf("blk.2.ffn_up_exps.bias", 64, kExperts), graph.ids);
    const ActivationChain chain =
        ActivationChain::of(graph.down(ggml_sqr(graph.context(), ggml_relu(graph.context(), up))), 2);
    REQUIRE(chain.steps.size() == 5);
    CHECK(chain.steps[1].kind == Kind::kScale);
    CHECK(chain.steps[1].tensor == "blk.2.ffn_up_exps.scale");
    CHECK(chain.steps[2].kind == Kind::kBias);
    CHECK(chain.steps[2].tensor == "blk.2.ffn_up_exps.bias");
    CHECK(chain.steps[3].op == GGML_OP_UNARY);
    CHECK(chain.steps[4].op == GGML_OP_SQR);
}

TEST_CASE("WhatMixesTokensOrLayersIsRefusedByName") {
    Graph graph;
    ggml_tensor * up = graph.product(kUp, 64);
    const ActivationChain sum = ActivationChain::of(graph.down(ggml_cumsum(graph.context(), up)), 2);
    CHECK_FALSE(sum.known());
    CHECK(sum.refusal.find("CUMSUM") != std::string::npos);
    const ActivationChain other = ActivationChain::of(graph.down(ggml_relu(graph.context(), up)), 5);
    CHECK_FALSE(other.known());
    CHECK(other.refusal.find("MUL_MAT_ID") != std::string::npos);
}

TEST_CASE("AChainIsReadAgainAsItWasWritten") {
    Graph graph;
    ggml_tensor * gate = graph.product(kGate, 64);
    ggml_tensor * up = ggml_clamp(graph.context(), graph.product(kUp, 64), -7, 7);
    const ActivationChain chain =
        ActivationChain::of(graph.down(ggml_swiglu_oai(graph.context(), gate, up, 1.702F, 7.0F)), 2);
    const std::vector<uint8_t> bytes = chain.encode();
    const Result<ActivationChain> read = ActivationChain::decode(bytes.data(), bytes.size());
    REQUIRE(read.is_ok());
    REQUIRE(read.value().steps.size() == chain.steps.size());
    for (size_t i = 0; i < chain.steps.size(); i++) {
        const ActivationStep & a = chain.steps[i];
        const ActivationStep & b = read.value().steps[i];
        CHECK((a.kind == b.kind && a.projection == b.projection && a.tensor == b.tensor && a.width == b.width));
        CHECK((a.op == b.op && a.params == b.params && a.src == b.src));
    }
    CHECK(read.value().encode() == bytes);
}

TEST_CASE("DamagedChainsAreRefused") {
    Graph graph;
    ggml_tensor * up = graph.product(kUp, 64);
    const std::vector<uint8_t> bytes = ActivationChain::of(graph.down(ggml_relu(graph.context(), up)), 2).encode();
    for (size_t size = 0; size < bytes.size(); size++) {
        CHECK_FALSE(ActivationChain::decode(bytes.data(), size).is_ok());
    }
    for (size_t i = 0; i < bytes.size(); i++) {
        std::vector<uint8_t> damaged = bytes;
        damaged[i] ^= 0xff;
        const Result<ActivationChain> chain = ActivationChain::decode(damaged.data(), damaged.size());
        for (size_t step = 0; chain.is_ok() && step < chain.value().steps.size(); step++) {
            CHECK(chain.value().steps[step].src[0] < static_cast<int32_t>(step));
        }
    }
}

}  // namespace edgemoe
