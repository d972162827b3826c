// What a layer's map sees of every token of a spilled text: its columns, in the order of engine/expert_maps.h. Training
// and judging read them from here, so that both see what generation sees.
#pragma once

#include "engine/activation_spill.h"
#include "engine/expert_maps.h"

#include <cstdint>
#include <vector>

namespace edgemoe {

// Borrows the activations. Immutable, thread-safe. Memory: 6 bytes a token and expert.
class MapFeatures {
public:
    explicit MapFeatures(const LayerActivations & activations);

    int64_t n_columns() const { return n_columns_; }
    // Row after row of `n` tokens, [n, n_columns()]. The text is one sequence, token after token.
    void fill(const int32_t * tokens, int64_t n, float * rows) const;

private:
    const LayerActivations & activations_;
    int64_t n_columns_ = 0;
    int64_t n_history_ = 0;
    std::vector<uint16_t> history_;  // ggml_fp16_t, [n_tokens, n_history]
};

// A token's experts as predict/ wants them.
std::vector<int32_t> chosen_of(const std::vector<int16_t> & ids, int64_t token, int32_t n_used);

}  // namespace edgemoe
