// A text in windows: each is a sequence of its own, evaluated from an empty context, as llama.cpp's perplexity tool
// does.
#pragma once

#include "base/status.h"
#include "engine/job_progress.h"
#include "engine/llama_handles.h"
#include "engine/model.h"

#include "ggml-backend.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace edgemoe {

// How a window is computed: most tokens of one llama_decode, all of which are one ubatch, so that the bits depend on
// the window alone.
constexpr uint32_t kWindowUbatch = 512;

// Load options of a model that is to be evaluated in windows of `n_ctx` tokens, with `n_outputs` rows of logits at once
// at most.
LoadOptions window_options(LoadOptions options, uint32_t n_ctx, uint32_t n_outputs);

// The text's tokens, with the beginning-of-text token that the model wants in front. kInvalidArgument for text that is
// not UTF-8 or has fewer than `n_least` tokens (the message says how many there are). `n_most`: tokens behind it are
// left out; 0: none are.
Result<std::vector<int32_t>> window_tokens(const Model & model, const std::string & text, size_t n_least,
                                           size_t n_most);

// One thread at a time.
class WindowEvaluator {
public:
    // `model` was loaded with window_options(), and outlives it. `observer` (may be nullptr) sees every node of the
    // graph, as ggml_backend_sched_eval_callback; it must return true for `ask == false`.
    static Result<std::unique_ptr<WindowEvaluator>> create(Model & model, ggml_backend_sched_eval_callback observer,
                                                           void * user_data);
    ~WindowEvaluator();

    // Asked now and then while a batch is computed; false makes append() end with kCancelled.
    void set_poll(std::function<bool()> poll) { poll_ = std::move(poll); }

    // Forgets the window before.
    void begin_window();
    // Appends tokens of the window, at most batch_size(). The logits of those from `first_output` on (an index into
    // `tokens`; n_tokens: of none) can then be had. The first token of a window is replaced with the beginning-of-text
    // token where the model wants one.
    Status append(const int32_t * tokens, int32_t n_tokens, int32_t first_output);
    // [n_vocab], of a token of the last append(); valid until the next one.
    const float * logits(int32_t token) const;

    int32_t batch_size() const { return static_cast<int32_t>(llama_n_batch(context_.get())); }
    int32_t n_vocab() const { return llama_vocab_n_tokens(model_.vocab()); }
    Model & model() const { return model_; }

private:
    explicit WindowEvaluator(Model & model) : model_(model) {}
    static bool is_cancelled(void * evaluator);

    Model & model_;
    int32_t n_past_ = 0;
    std::function<bool()> poll_;
    LlamaContext context_;
};

}  // namespace edgemoe
