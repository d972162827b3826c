// Who says which experts come next, while a layer is computed.
#pragma once

#include <cstddef>
#include <cstdint>

namespace edgemoe {

class ExpertStore;

class LayerPredictor {
public:
    virtual ~LayerPredictor() = default;

    // The `n_tokens` tokens of one sequence that are evaluated next, before their first layer is. Where nothing is
    // told, what comes is unknown. Borrowed for the call.
    virtual void begin_tokens(const int32_t * tokens, size_t n_tokens, ExpertStore & store) {
        static_cast<void>(tokens);
        static_cast<void>(n_tokens);
        static_cast<void>(store);
    }

    // The tokens before the ubatch's last one, ids[token * n_ids + slot]; called right before predict(), where there
    // are any.
    virtual void pass_over(int32_t layer, const int32_t * ids, int n_tokens, int n_ids) {
        static_cast<void>(layer);
        static_cast<void>(ids);
        static_cast<void>(n_tokens);
        static_cast<void>(n_ids);
    }

    // Layer `layer` is about to be computed, of a ubatch whose last token has the FFN input `ffn_input` (as many floats
    // as the layer's experts have columns; nullptr if it is not in one piece) and chose the experts `ids`, in the
    // router's order, with the weights `weights` (nullptr where they are not known). What it thinks comes next goes to
    // store.forecast() and store.score_next_use(). Called once per layer and ubatch, in the order of computation, on
    // one thread, after ExpertStore::acquire(), so that the reads of this layer are on their way; other threads
    // multiply meanwhile. All pointers are borrowed for the call.
    virtual void predict(int32_t layer, const float * ffn_input, const int32_t * ids, const float * weights, int n_ids,
                         ExpertStore & store) = 0;
};

}  // namespace edgemoe
