// How a model is to be loaded. The C API's edgemoe_load_params in C++ values; the defaults are here and nowhere else.
#pragma once

#include "store/prefetch_settings.h"

#include "ggml.h"

#include <cstdint>
#include <functional>
#include <limits>
#include <string>

namespace edgemoe {

enum class Toggle : int { kAuto = -1, kOff = 0, kOn = 1 };

// As n_ctx: the largest context that leaves the expert cache its useful minimum.
constexpr uint32_t kLargestContext = std::numeric_limits<uint32_t>::max();

struct LoadOptions {
    uint64_t memory_bytes = 0;        // ceiling of the process; 0: what is available, less a reserve
    uint64_t expert_cache_bytes = 0;  // not 0: the cache's bytes, and no ceiling
    uint32_t n_ctx = 0;               // tokens, or kLargestContext; 0: the smaller of 4096 and the model's
    uint32_t n_batch = 0;             // tokens; 0: n_ctx
    uint32_t n_ubatch = 512;          // tokens
    uint32_t n_outputs = 0;           // most rows of logits at once; 0: what 16 MiB hold, at least 40
    uint32_t n_sequences = 1;
    int32_t n_threads = 0;  // 0: the cores that this process may use
    bool streaming = true;
    bool lock_memory = false;           // hot weights and the expert cache stay out of swap
    Toggle row_tables = Toggle::kAuto;  // tables of rows stay on flash; kAuto: unless everything fits in memory
    Toggle direct_io = Toggle::kAuto;
    Prefetch prefetch = Prefetch::kOff;
    Toggle prewarm = Toggle::kAuto;  // kAuto: unless prefetch is off
    Toggle flash_attention = Toggle::kAuto;
    ggml_type cache_type_k = GGML_TYPE_F16;
    ggml_type cache_type_v = GGML_TYPE_F16;
    std::string io = "auto";
    std::string eviction = "default";
    std::string profile;                  // whose maps predict experts; "": the packed file's own, if any
    bool predict = true;                  // which experts come next; of no use where a text is evaluated as a whole
    std::function<bool(float)> progress;  // false stops loading
};

// Reads in flight at once, and buffers that they land in.
constexpr int kReadLanes = 8;
constexpr size_t kStagingBuffers = 16;

}  // namespace edgemoe
