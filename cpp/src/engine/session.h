// A context over a model: sequences, their KV cache, and what was measured.
#pragma once

#include "base/status.h"
#include "engine/llama_handles.h"
#include "engine/model.h"

#include <atomic>
#include <memory>
#include <mutex>
#include <vector>

namespace edgemoe {

// Seconds, tokens and expert traffic of a span.
struct SessionStats {
    uint64_t prompt_tokens = 0;
    uint64_t generated_tokens = 0;
    double prompt_seconds = 0;
    double generation_seconds = 0;
    uint64_t generation_steps = 0;  // llama_decode calls of one token each
    StreamStats prompt;             // the store's counters, as differences
    StreamStats generation;
    double stall_seconds() const { return prompt.stall_seconds + generation.stall_seconds; }
};

// One thread at a time, except cancel() and stats(), which any thread may call.
class Session {
public:
    // REQUIRES: `model` outlives it.
    static Result<std::unique_ptr<Session>> create(Model & model);
    ~Session();

    // Forgets one sequence, or all (sequence < 0).
    Status reset(int32_t sequence);

    // Appends and evaluates `n_tokens` tokens (at most n_batch). `sequences`: one number per token, nullptr: all 0.
    // `logits`: nullptr, or [n_tokens, n_vocab] floats. A failed call leaves the sequences as before it where llama.cpp
    // can take tokens back, otherwise (recurrent models) the sequences it touched are empty.
    Status decode(const int32_t * tokens, const int32_t * sequences, size_t n_tokens, float * logits);

    // As decode() of sequence 0, of any length, in parts of n_batch; afterwards last_logits() is the last token's.
    Status append(const int32_t * tokens, size_t n_tokens);

    // When the context is full: drops the older half behind the first `n_keep` tokens of sequence 0. kUnsupported if
    // the model cannot.
    Status shift_context(int32_t n_keep);

    int32_t n_past(int32_t sequence) const;
    int32_t n_ctx() const { return static_cast<int32_t>(llama_n_ctx(context_.get())); }
    int32_t n_batch() const { return static_cast<int32_t>(llama_n_batch(context_.get())); }
    int32_t n_sequences() const { return static_cast<int32_t>(llama_n_seq_max(context_.get())); }
    llama_context * handle() const { return context_.get(); }
    Model & model() const { return model_; }

    // cancel() makes what runs now end with kCancelled, soon; begin() forgets an earlier cancel.
    void begin() { cancelled_.store(false); }
    void cancel() { cancelled_.store(true); }
    bool cancelled() const { return cancelled_.load(); }

    SessionStats stats() const;
    void set_stats(const SessionStats & stats);

private:
    explicit Session(Model & model) : model_(model) {}
    Status evaluate(const int32_t * tokens, const int32_t * sequences, size_t n_tokens, bool all_logits);
    Status evaluate_parts(const int32_t * tokens, const int32_t * sequences, size_t n_tokens, float * logits);
    void take_back(const std::vector<int32_t> & n_past_before);  // by sequence

    Model & model_;
    uint32_t n_outputs_ = 0;  // most tokens whose logits llama.cpp gives at once; decode() evaluates more in parts
    std::atomic<bool> cancelled_{false};
    mutable std::mutex stats_mutex_;
    SessionStats stats_;  // guarded by stats_mutex_
    LlamaContext context_;
};

// a - b, for counters of one store.
StreamStats difference(const StreamStats & a, const StreamStats & b);

}  // namespace edgemoe
