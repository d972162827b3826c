#include "engine/window_evaluator.h"

#include "engine/chat.h"
#include "engine/log.h"

#include <algorithm>

namespace edgemoe {

namespace {

class Batch {
public:
    explicit Batch(int32_t n_tokens) : batch_(llama_batch_init(n_tokens, 0, 1)) {}
    ~Batch() { llama_batch_free(batch_); }
    Batch(const Batch &) = delete;
    Batch & operator=(const Batch &) = delete;

    void add(int32_t token, int32_t position, bool output) {
        const int32_t i = batch_.n_tokens++;
        batch_.token[i] = token;
        batch_.pos[i] = position;
        batch_.n_seq_id[i] = 1;
        batch_.seq_id[i][0] = 0;
        batch_.logits[i] = output ? 1 : 0;
    }
    const llama_batch & get() const { return batch_; }

private:
    llama_batch batch_;
};

}  // namespace

LoadOptions window_options(LoadOptions options, uint32_t n_ctx, uint32_t n_outputs) {
    options.n_ctx = n_ctx;
    options.n_batch = std::min(n_ctx, kWindowUbatch);
    options.n_ubatch = options.n_batch;
    options.n_outputs = std::min(n_outputs, options.n_batch);
    options.n_sequences = 1;
    options.predict = false;
    return options;
}

Result<std::vector<int32_t>> window_tokens(const Model & model, const std::string & text, size_t n_least,
                                           size_t n_most) {
    Result<std::vector<int32_t>> tokens = tokenize(model, text.data(), text.size(), true, false);
    if (!tokens.is_ok()) {
        return tokens;
    }
    if (n_most != 0 && tokens.value().size() > n_most) {
        tokens.value().resize(n_most);
    }
    if (tokens.value().size() < n_least) {
        return Status(StatusCode::kInvalidArgument, "the text is too short: " + std::to_string(tokens.value().size()) +
                                                        " tokens, at least " + std::to_string(n_least) +
                                                        " are needed; give a longer one, or a smaller context");
    }
    return tokens;
}

Result<std::unique_ptr<WindowEvaluator>> WindowEvaluator::create(Model & model,
                                                                 ggml_backend_sched_eval_callback observer,
                                                                 void * user_data) {
    std::unique_ptr<WindowEvaluator> evaluator(new WindowEvaluator(model));
    llama_context_params params = context_params(model.options(), *model.handle());
    params.abort_callback = is_cancelled;
    params.abort_callback_data = evaluator.get();
    params.cb_eval = observer;
    params.cb_eval_user_data = user_data;
    ErrorCapture errors;
    evaluator->context_.reset(llama_init_from_model(model.handle(), params));
    if (evaluator->context_ == nullptr) {
        return Status(StatusCode::kUnsupported,
                      model.source().path() + ": llama.cpp cannot make a context: " + errors.first());
    }
    llama_attach_threadpool(evaluator->context_.get(), model.threads(), nullptr);
    return evaluator;
}

WindowEvaluator::~WindowEvaluator() = default;

bool WindowEvaluator::is_cancelled(void * evaluator) {
    const auto & poll = static_cast<WindowEvaluator *>(evaluator)->poll_;
    return poll && !poll();
}

void WindowEvaluator::begin_window() {
    n_past_ = 0;
    if (llama_memory_t memory = llama_get_memory(context_.get())) {
        llama_memory_clear(memory, true);
    }
}

Status WindowEvaluator::append(const int32_t * tokens, int32_t n_tokens, int32_t first_output) {
    Batch batch(n_tokens);
    for (int32_t i = 0; i < n_tokens; i++) {
        const bool begins = n_past_ == 0 && i == 0 && llama_vocab_get_add_bos(model_.vocab());
        batch.add(begins ? llama_vocab_bos(model_.vocab()) : tokens[i], n_past_ + i, i >= first_output);
    }
    (void)model_.take_failure();
    ErrorCapture errors;
    const int32_t result = llama_decode(context_.get(), batch.get());
    llama_synchronize(context_.get());
    if (result == 0) {
        n_past_ += n_tokens;
        return Status::ok();
    }
    const Status failure = model_.take_failure();
    if (!failure.is_ok()) {
        return failure;
    }
    if (is_cancelled(this)) {
        return Status(StatusCode::kCancelled, "cancelled");
    }
    return Status(StatusCode::kInternal, model_.source().path() + ": llama.cpp cannot evaluate the tokens (" +
                                             std::to_string(result) + "): " + errors.first());
}

const float * WindowEvaluator::logits(int32_t token) const {
    return llama_get_logits_ith(context_.get(), token);
}

}  // namespace edgemoe
