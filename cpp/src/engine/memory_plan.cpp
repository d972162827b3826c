#include "engine/memory_plan.h"

#include "backend/expert_matmul.h"
#include "engine/llama_handles.h"
#include "engine/log.h"
#include "engine/process_memory.h"
#include "engine/row_tables.h"

#include "llama-ext.h"

#include <algorithm>
#include <thread>

#if defined(__linux__)
#include <sched.h>
#endif

namespace edgemoe {

namespace {

// Resident memory before loading differs by about so much between starts of the same program: named on top, so that the
// figure of one start works in the next.
constexpr uint64_t kStartScatter = 1 << 20;
constexpr uint64_t kMiB = 1 << 20;
constexpr uint32_t kDefaultContext = 4096;
constexpr uint32_t kLeastContext = 512;  // of kLargestContext
constexpr uint32_t kContextStep = 256;   // llama.cpp rounds up to it
constexpr uint64_t kReserveBytes = 24 * kMiB;
constexpr uint64_t kLogitsBytes = 16 * kMiB;  // most that logits of one evaluation take
constexpr uint64_t kLeastLogitsRows = 40;

uint64_t top_k_slots(const ExpertLayer & layer, int32_t k) {
    std::vector<uint64_t> bytes;
    for (const ExpertParts & parts : layer.experts) {
        bytes.push_back(ExpertStore::slot_bytes(parts));
    }
    std::sort(bytes.rbegin(), bytes.rend());
    uint64_t sum = 0;
    for (size_t i = 0; i < bytes.size() && i < static_cast<size_t>(k); i++) {
        sum += bytes[i];
    }
    return sum;
}

}  // namespace

std::string mebibytes(uint64_t bytes) {
    return std::to_string((bytes + kMiB - 1) / kMiB) + " MiB";
}

int32_t thread_count(const LoadOptions & options) {
    if (options.n_threads > 0) {
        return options.n_threads;
    }
#if defined(__linux__)
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof(set), &set) == 0) {
        return std::max(1, CPU_COUNT(&set));
    }
#endif
    return std::max(1, static_cast<int32_t>(std::thread::hardware_concurrency()));
}

uint32_t context_size(const LoadOptions & options, int64_t n_ctx_train) {
    if (options.n_ctx != 0) {
        return options.n_ctx;
    }
    return n_ctx_train > 0 ? static_cast<uint32_t>(std::min<int64_t>(kDefaultContext, n_ctx_train)) : kDefaultContext;
}

llama_context_params context_params(const LoadOptions & options, const llama_model & model) {
    llama_context_params params = llama_context_default_params();
    params.n_ctx = context_size(options, llama_model_n_ctx_train(&model));
    params.n_batch = options.n_batch != 0 ? options.n_batch : params.n_ctx;
    params.n_ubatch = options.n_ubatch;
    params.n_seq_max = options.n_sequences;
    params.n_threads = thread_count(options);
    params.n_threads_batch = params.n_threads;
    // llama.cpp makes room for the logits of a whole ubatch, 300 MB at a vocabulary of 150,000, of which generating
    // needs one row.
    const auto row_bytes = static_cast<uint64_t>(llama_vocab_n_tokens(llama_model_get_vocab(&model))) * sizeof(float);
    const uint64_t rows = options.n_outputs != 0
                              ? options.n_outputs
                              : std::max<uint64_t>(kLeastLogitsRows, kLogitsBytes / std::max<uint64_t>(1, row_bytes));
    params.n_outputs_max =
        std::max(options.n_sequences, static_cast<uint32_t>(std::min<uint64_t>(rows, params.n_batch)));
    params.type_k = options.cache_type_k;
    params.type_v = options.cache_type_v;
    params.flash_attn_type = static_cast<llama_flash_attn_type>(options.flash_attention);
    params.kv_unified = true;  // sequences share the context
    params.no_perf = true;
    return params;
}

Result<MemoryPlan> plan_memory(const GgufSource & source, const LoadOptions & options, llama_model & model,
                               ExpertBufferType & flash, const std::vector<size_t> & row_tables) {
    MemoryPlan plan;
    plan.n_ctx_train = llama_model_n_ctx_train(&model);
    const llama_context_params context_options = context_params(options, model);
    ErrorCapture errors;
    LlamaContext context(llama_init_from_model(&model, context_options));
    if (context == nullptr) {
        return Status(StatusCode::kUnsupported, source.path() + ": llama.cpp cannot make a context of " +
                                                    std::to_string(context_options.n_ctx) +
                                                    " tokens: " + errors.first());
    }
    plan.n_ctx = static_cast<int32_t>(llama_n_ctx(context.get()));
    for (const auto & [buffer_type, bytes] : llama_get_memory_breakdown(context.get())) {
        plan.hot_bytes += buffer_type == flash.handle() ? 0 : bytes.model;
        plan.kv_cache_bytes += bytes.context;
        plan.compute_bytes += bytes.compute;
    }
    // The buffer that logits are copied to is no part of the breakdown.
    plan.compute_bytes += static_cast<uint64_t>(context_options.n_outputs_max) *
                          static_cast<uint64_t>(llama_vocab_n_tokens(llama_model_get_vocab(&model))) * sizeof(float);
    plan.row_table_bytes = row_table_bytes(source, row_tables);
    plan.io_bytes += row_window_bytes(source, row_tables);
    const ExpertIndex & experts = source.experts();
    if (!experts.empty()) {
        plan.compute_bytes +=
            ExpertMatmul::scratch_bytes(experts, llama_n_ubatch(context.get()), context_options.n_threads);
        plan.io_bytes += ExpertStore::staging_bytes(experts, kStagingBuffers);
        for (const ExpertLayer & layer : experts.layers()) {
            const uint64_t top_k = top_k_slots(layer, experts.n_experts_used());
            plan.least_cache_bytes = std::max(plan.least_cache_bytes, top_k);
            plan.useful_cache_bytes += top_k;
            for (const ExpertParts & parts : layer.experts) {
                plan.expert_bytes += ExpertStore::slot_bytes(parts);
            }
        }
    }
    // The tokenizer's tables take several times their bytes in the file.
    const llama_vocab * vocab = llama_model_get_vocab(&model);
    plan.reserve_bytes = kReserveBytes + static_cast<uint64_t>(llama_vocab_n_tokens(vocab)) * 512;
    return plan;
}

uint64_t memory_ceiling(const LoadOptions & options, uint64_t process_bytes) {
    if (options.memory_bytes != 0) {
        return options.memory_bytes;
    }
    const uint64_t available = available_memory_bytes();
    return process_bytes + available - std::min(available, std::max<uint64_t>(256 * kMiB, available / 10));
}

Result<uint32_t> largest_context(uint32_t most, uint64_t ceiling,
                                 const std::function<Result<uint64_t>(uint32_t)> & total_bytes) {
    const auto context = [most](uint32_t steps) { return std::min(most, steps * kContextStep); };
    uint32_t fits = kLeastContext / kContextStep;  // or is the least that there is
    uint32_t fails = most / kContextStep + 2;      // one more than would be tried
    while (fits + 1 < fails) {
        // The whole context first: mostly it fits, or much less does.
        const uint32_t middle = fails > most / kContextStep + 1 ? fails - 1 : fits + (fails - fits) / 2;
        const Result<uint64_t> total = total_bytes(context(middle));
        if (!total.is_ok()) {
            return total.status();
        }
        (total.value() <= ceiling ? fits : fails) = middle;
    }
    return context(fits);
}

Result<uint64_t> expert_cache_bytes(const MemoryPlan & plan, const LoadOptions & options, const std::string & path,
                                    uint64_t * ceiling_bytes) {
    *ceiling_bytes = 0;
    if (options.expert_cache_bytes != 0) {
        return std::min(options.expert_cache_bytes, std::max(plan.expert_bytes, plan.least_cache_bytes));
    }
    const uint64_t ceiling = memory_ceiling(options, plan.process_bytes);
    *ceiling_bytes = ceiling;
    if (!options.streaming && ceiling < plan.fixed_bytes() + plan.expert_bytes) {
        return Status(StatusCode::kOutOfBudget, path + ": with streaming off it needs " +
                                                    mebibytes(plan.fixed_bytes() + plan.expert_bytes) + ", not " +
                                                    mebibytes(ceiling) + "; leave streaming on");
    }
    if (ceiling < plan.least_bytes()) {
        return Status(StatusCode::kOutOfBudget,
                      path + ": does not run in " + mebibytes(ceiling) + "; the least is " +
                          mebibytes(plan.least_bytes() + kStartScatter) + " (" + mebibytes(plan.process_bytes) +
                          " this process, " + mebibytes(plan.hot_bytes) + " hot weights, " +
                          mebibytes(plan.kv_cache_bytes) + " KV cache for " + std::to_string(plan.n_ctx) + " tokens, " +
                          mebibytes(plan.compute_bytes + plan.io_bytes + plan.map_bytes + plan.reserve_bytes) +
                          " buffers, " + mebibytes(plan.least_cache_bytes) + " experts of one token and layer, " +
                          mebibytes(kStartScatter) + " to spare); give it more memory, or a smaller n_ctx or n_ubatch");
    }
    return std::min(ceiling - plan.fixed_bytes(), plan.expert_bytes);
}

bool row_tables_fit(const MemoryPlan & plan, const LoadOptions & options, uint64_t ceiling_bytes) {
    return options.row_tables == Toggle::kAuto && ceiling_bytes != 0 &&
           ceiling_bytes >= plan.fixed_bytes() + plan.expert_bytes + plan.row_table_bytes;
}

}  // namespace edgemoe
