// What is known about a model's experts on a text: `edgemoe profile` finds it out, `edgemoe pack` and the preloading
// use it. A GGUF file (format: docs/profile.md).
#pragma once

#include "base/expert_id.h"
#include "base/status.h"
#include "engine/activation_chain.h"
#include "engine/expert_maps.h"
#include "engine/model_identity.h"
#include "engine/routing_record.h"
#include "storage/expert_index.h"

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace edgemoe {

constexpr uint32_t kProfileVersion = 1;

// An expert that fewer tokens than this were routed to is named as hardly reached.
constexpr uint32_t kFewTokens = 64;

// Sum over the tokens routed to each expert of weight * x[c]^2, where weight is as in ExpertInputs.
struct DiagonalMoments {
    int64_t columns = 0;      // 0: not available
    std::vector<float> sums;  // [n_experts, columns]
};

struct LayerProfile {
    LayerRouting routing;
    bool evaluated = false;               // false: the model's graph does not use this layer's experts
    bool weights_before_experts = false;  // LayerFacts
    ActivationChain chain;                // how down's input is made
    std::vector<uint32_t> counts;         // [n_experts]: tokens
    std::vector<double> mass;             // [n_experts]: sum of router weights
    std::vector<double> total_weight;     // [n_experts]: sum of ExpertInputs::weights
    DiagonalMoments input;                // of gate, up and gate_up
    DiagonalMoments down;                 // columns 0 where the chain is not understood
};

// Expected damage of quantization, filled in by the sensitivity step (engine/sensitivity.h says what the numbers mean);
// stored beside the rest and given back as it was.
struct SensitivityTable {
    uint32_t formula_version = 0;
    std::string formula;         // for people
    std::vector<int32_t> types;  // ggml_type, by column
    // By layer position: [n_experts, kProjectionCount, types.size()]; NaN where there is none.
    std::vector<std::vector<float>> damage;
    // Measured KL divergence of a whole (layer, projection) group: [layers, kProjectionCount, types.size()]; NaN where
    // not measured.
    std::vector<float> group_kl;
    int64_t group_tokens = 0;  // tokens scored for it
};

// Value type.
class Profile {
public:
    ModelIdentity model;
    std::vector<int32_t> tokens;       // the calibration text, so that the pass can be repeated
    int32_t n_ctx = 0;                 // window
    std::vector<LayerProfile> layers;  // by rising layer number
    std::optional<SensitivityTable> sensitivity;
    ExpertMaps maps;  // empty: none were fitted

    // kFormat for a file that is no profile, is damaged, or has another version.
    static Result<Profile> load(const std::string & path);
    // LayerProfile::counts of the profile `path`, for those experts of `index` that it has, and nothing else of it is
    // read. Empty where that cannot be done.
    static std::vector<std::pair<ExpertId, uint32_t>> read_counts(const std::string & path, const ExpertIndex & index);
    // Under a temporary name beside `path`, then renamed: `path` appears complete, or not at all.
    Status save(const std::string & path) const;

    const LayerProfile * find(int32_t layer) const;  // nullptr: no such MoE layer

    // The importance of each input column of a matrix for ggml's quantizers: the mean of weight * x[c]^2 over the
    // tokens of the expert, blended with the layer's mean as if that had been seen for kPriorTokens more tokens, so
    // that experts that the text hardly reaches get the layer's. Empty where nothing is known.
    std::vector<float> importance(ExpertId id, Projection projection) const;
    static constexpr double kPriorTokens = 16;

    // Experts of evaluated layers with fewer than kFewTokens tokens.
    std::vector<ExpertId> hardly_reached() const;
};

}  // namespace edgemoe
