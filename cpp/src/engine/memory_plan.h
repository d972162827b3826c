// The ledger of the memory figure: what a model needs beside its expert cache, known before anything is loaded.
#pragma once

#include "backend/expert_buffer_type.h"
#include "base/status.h"
#include "engine/gguf_source.h"
#include "engine/load_options.h"

#include "llama.h"

#include <cstdint>
#include <functional>

namespace edgemoe {

struct MemoryPlan {
    uint64_t process_bytes = 0;  // before loading: the program, Python, other models with all of their caches
    uint64_t hot_bytes = 0;      // weights in memory
    uint64_t kv_cache_bytes = 0;
    uint64_t compute_bytes = 0;       // llama.cpp's compute and output buffers, and our scratch memory
    uint64_t io_bytes = 0;            // read buffers, and the windows of row tables
    uint64_t row_table_bytes = 0;     // tables that may stay on flash; no part of the sum
    uint64_t map_bytes = 0;           // what predicts experts
    uint64_t reserve_bytes = 0;       // tokenizer, graphs, the allocator's losses
    uint64_t expert_bytes = 0;        // slots of all experts
    uint64_t least_cache_bytes = 0;   // top-k experts of one layer
    uint64_t useful_cache_bytes = 0;  // top-k experts of every layer
    int32_t n_ctx = 0;
    int32_t n_ctx_train = 0;

    uint64_t fixed_bytes() const {
        return process_bytes + hot_bytes + kv_cache_bytes + compute_bytes + io_bytes + map_bytes + reserve_bytes;
    }
    uint64_t least_bytes() const { return fixed_bytes() + least_cache_bytes; }
    uint64_t useful_bytes() const { return fixed_bytes() + useful_cache_bytes; }
};

// For a context of context_size() tokens over `model`.
llama_context_params context_params(const LoadOptions & options, const llama_model & model);
uint32_t context_size(const LoadOptions & options, int64_t n_ctx_train);
int32_t thread_count(const LoadOptions & options);

// Lets llama.cpp lay out a context over a model that is laid out itself (engine/model_layout.h), and adds up. Fails as
// loading would. `flash`: where the expert tensors and `row_tables` are. Leaves process_bytes and map_bytes at 0.
Result<MemoryPlan> plan_memory(const GgufSource & source, const LoadOptions & options, llama_model & model,
                               ExpertBufferType & flash, const std::vector<size_t> & row_tables);

// The ceiling in force: options.memory_bytes, or what is available, less a reserve. `process_bytes`: as in the plan.
uint64_t memory_ceiling(const LoadOptions & options, uint64_t process_bytes);

// The largest number of tokens, at most `most`, for which `total_bytes` is at most `ceiling`: a multiple of 256, or
// `most`. Where there is none, the least context: 512, or `most` if that is smaller. total_bytes never falls with
// growing context; its failure is returned.
Result<uint32_t> largest_context(uint32_t most, uint64_t ceiling,
                                 const std::function<Result<uint64_t>(uint32_t)> & total_bytes);

// Bytes for the expert cache under options.memory_bytes (or what is available): at most all experts. kOutOfBudget,
// naming the least that works. *ceiling_bytes: the figure in force.
Result<uint64_t> expert_cache_bytes(const MemoryPlan & plan, const LoadOptions & options, const std::string & path,
                                    uint64_t * ceiling_bytes);

// True if row tables are to be in memory after all: they are no one's wish, and everything fits the ceiling with them.
bool row_tables_fit(const MemoryPlan & plan, const LoadOptions & options, uint64_t ceiling_bytes);

// "1234 MiB", rounded up.
std::string mebibytes(uint64_t bytes);

}  // namespace edgemoe
