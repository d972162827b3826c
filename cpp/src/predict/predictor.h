// Who is next: scores of the experts of a layer that comes soon, from what is known when an earlier layer has chosen.
//
// A predictor serves one pair of layers: the one that has just chosen and the one that is asked about, `distance`
// layers later; after a token's last layer come the first ones of the next token. It includes no matrix product: what
// linear maps make of the FFN input is computed outside (in one product for a whole layer) and handed in.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace edgemoe {

// A token's choice of experts in a layer, in the router's order; those below 0 are none. Borrowed.
struct ChosenExperts {
    const int32_t * ids = nullptr;
    size_t n = 0;
};

// What is known when a layer has chosen. Borrowed for the call.
struct PredictionInput {
    ChosenExperts present;           // of the layer itself
    ChosenExperts before;            // of the layer before it (of the token before, for the first); may be empty
    ChosenExperts target_last;       // what the target chose for the last token that it has seen; may be empty
    const float * router = nullptr;  // [n_experts] logits: the target's router on this layer's FFN input; or nullptr
    const float * look_ahead = nullptr;  // [n_experts] logits: the trained map; or nullptr
};

// One thread at a time.
class Predictor {
public:
    virtual ~Predictor() = default;

    // Sets scores[0, n_experts): larger is likelier; the scale is each predictor's own. False, with the scores left
    // alone, where the input lacks what this predictor goes by.
    virtual bool score(const PredictionInput & input, float * scores) = 0;

    // What the target then chose. Called once after each score(), with the same input.
    virtual void learn(const PredictionInput & /*input*/, ChosenExperts /*chosen*/) {}
};

// The pair of layers a predictor is for.
struct PredictorShape {
    int32_t n_present = 0;  // experts of the layer that has chosen
    int32_t n_before = 0;   // of the one before it
    int32_t n_experts = 0;  // of the target
};

// "popularity", "previous-token", "path", "router", "router+path" and "look-ahead" (trained; docs/prediction.md
// says what each is). nullptr for
// an unknown name.
std::unique_ptr<Predictor> make_predictor(const std::string & name, PredictorShape shape);
std::vector<std::string> predictor_names();

// The n likeliest, the likeliest first; of equals the lower number.
void most_likely(const float * scores, size_t n_experts, size_t n, std::vector<int32_t> * experts);

// In place. REQUIRES: n > 0.
void softmax(float * logits, size_t n);

// Turns logits into the probability that each expert is among `n_chosen`: p = min(1, n_chosen * softmax), in place.
void chosen_probabilities(float * logits, size_t n_experts, size_t n_chosen);

}  // namespace edgemoe
