// How the next token is chosen: llama.cpp's samplers in llama.cpp's order.
#pragma once

#include "engine/llama_handles.h"

#include <cstdint>
#include <limits>

namespace edgemoe {

constexpr int32_t kModelDefault = std::numeric_limits<int32_t>::min();

// NaN / kModelDefault: the model's own default (general.sampling.* in the file), else the library's (kLibraryDefaults
// in the source).
struct SamplingOptions {
    float temperature = std::numeric_limits<float>::quiet_NaN();     // 0: greedy
    int32_t top_k = kModelDefault;                                   // 0: off
    float top_p = std::numeric_limits<float>::quiet_NaN();           // 1: off
    float min_p = std::numeric_limits<float>::quiet_NaN();           // 0: off
    float repeat_penalty = std::numeric_limits<float>::quiet_NaN();  // 1: off
    int32_t repeat_last_n = kModelDefault;                           // tokens
    uint32_t seed = LLAMA_DEFAULT_SEED;                              // LLAMA_DEFAULT_SEED: random
};

LlamaSampler make_sampler(const llama_model & model, const SamplingOptions & options);

}  // namespace edgemoe
