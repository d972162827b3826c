// Watches a graph while it is computed and spills what the routed experts of each layer see. Knows no architecture:
// what it needs is found from the nodes themselves, by the products with the expert tensors.
#pragma once

#include "base/status.h"
#include "engine/activation_spill.h"

#include "ggml.h"

#include <cstdint>
#include <map>
#include <vector>

namespace edgemoe {

// One thread at a time. REQUIRES: every batch is computed as one graph, for all its tokens.
class ActivationCapture {
public:
    // Both outlive it.
    ActivationCapture(ActivationSpill & spill, std::string architecture);

    // For WindowEvaluator::create(); `capture` is the object.
    static bool observe(ggml_tensor * node, bool ask, void * capture);

    // Around the evaluation of the text's tokens [first, first + n).
    void begin_batch(int64_t first, int64_t n);
    // The first failure: kUnsupported for a graph whose routing cannot be told, naming the architecture; kIo.
    Status end_batch();

private:
    // A layer between its first product and the multiplication with the router's weights.
    struct Layer {
        int64_t position = -1;  // in the spill; -1: none is being captured
        int32_t n_used = 0;
        const ggml_tensor * down = nullptr;
        std::vector<float> inputs;
        std::vector<int16_t> ids;
    };
    // What is read of the node that was asked for, once it is computed.
    enum class Wanted { kNothing, kProduct, kWeights, kWeightedInput };

    bool ask(const ggml_tensor * node);
    void take(const ggml_tensor * node);
    void take_product(const ggml_tensor * product);
    void take_weights(const ggml_tensor * weights, int32_t n_used, std::vector<float> * values) const;
    void undo_weights();
    void write(const std::vector<float> & weights, bool before_experts);
    void fail(const std::string & reason);

    ActivationSpill & spill_;
    std::string architecture_;
    std::map<int32_t, int64_t> positions_;  // by layer number
    std::vector<bool> has_facts_;
    int64_t first_ = 0;
    int64_t n_ = 0;
    Status failure_;
    Wanted wanted_ = Wanted::kNothing;
    Layer layer_;
    // Inputs that were multiplied with the router's weights already, and these.
    const ggml_tensor * weighted_input_ = nullptr;
    std::vector<float> early_weights_;
};

}  // namespace edgemoe
