// How good a model is on a text: perplexity, and how far it is from another model.
#pragma once

#include "base/status.h"
#include "engine/load_options.h"
#include "engine/window_evaluator.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace edgemoe {

// Over the scored tokens: those of the second half of each window, as llama.cpp's perplexity tool does. Natural
// logarithms.
struct Evaluation {
    uint64_t tokens = 0;  // scored
    double perplexity = 0;
    double perplexity_error = 0;  // standard error
    // Against the base model; 0 without one.
    double base_perplexity = 0;
    double kl_divergence = 0;        // mean of KL(base || model)
    double kl_divergence_error = 0;  // its standard error
    double argmax_agreement = 0;     // share of tokens where both have the same likeliest token
};

struct EvaluateOptions {
    LoadOptions load;       // memory is shared by the models; the context is set here
    uint32_t n_ctx = 512;   // window in tokens
    uint64_t n_tokens = 0;  // most tokens of the text that are used, rounded to windows; 0: all
};

// Evaluates `model`, and `base` (empty: none) with it, window by window, in one process. Both must have the same
// vocabulary. kInvalidArgument for a text of less than one window or that is not UTF-8; otherwise as Model::load.
Result<Evaluation> evaluate(const std::string & model, const std::string & base, const std::string & text,
                            const EvaluateOptions & options, const JobProgress & progress);

// The same for a text that is tokens of the model's vocabulary already.
Result<Evaluation> evaluate_tokens(const std::string & model, const std::string & base,
                                   const std::vector<int32_t> & tokens, const EvaluateOptions & options,
                                   const JobProgress & progress);

// kOutOfBudget if a model whose experts take `expert_share` of those of `base`, and else is like it, cannot be
// evaluated against it. For before the model is made. Fails as Model::describe does.
Status check_memory_with_base(const std::string & base, double expert_share, const EvaluateOptions & options);

// Adds scored tokens up. One thread at a time.
class EvaluationSum {
public:
    // `logits`, `base` (nullptr: none): by scored token, [n_vocab] each; `targets`: the tokens that came.
    void add(const std::vector<const float *> & logits, const std::vector<const float *> & base,
             const std::vector<int32_t> & targets, int32_t n_vocab, int n_threads);
    Evaluation result() const;

private:
    uint64_t n_ = 0, n_agree_ = 0;
    double nll_ = 0, nll2_ = 0, base_nll_ = 0, kl_ = 0, kl2_ = 0;
    bool has_base_ = false;
};

// One batch of a window, as WindowEvaluator::append() got it.
struct WindowBatch {
    const int32_t * tokens = nullptr;
    int32_t n_tokens = 0;
    int32_t position = 0;  // of the first one in its window
    int32_t first_output = 0;
};

// `rows`: the scored tokens of the batch, by index; `targets`: the token that came after each. Called when the batch
// was evaluated; not ok ends the run.
using ScoreBatch = std::function<Status(const WindowBatch & batch, const std::vector<int32_t> & rows,
                                        const std::vector<int32_t> & targets)>;

// Evaluates the whole windows of `tokens`, reporting to `meter`.
Status score_windows(const std::vector<int32_t> & tokens, int32_t n_ctx, WindowEvaluator & evaluator,
                     ProgressMeter & meter, const ScoreBatch & score);

}  // namespace edgemoe
