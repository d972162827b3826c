#include "engine/session.h"

#include "engine/log.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <map>
#include <string>

namespace edgemoe {

namespace {

bool is_cancelled(void * session) {
    return static_cast<Session *>(session)->cancelled();
}

class Batch {
public:
    explicit Batch(size_t n_tokens) : batch_(llama_batch_init(static_cast<int32_t>(n_tokens), 0, 1)) {}
    ~Batch() { llama_batch_free(batch_); }
    Batch(const Batch &) = delete;
    Batch & operator=(const Batch &) = delete;

    void add(int32_t token, int32_t position, int32_t sequence, bool output) {
        const int32_t i = batch_.n_tokens++;
        batch_.token[i] = token;
        batch_.pos[i] = position;
        batch_.n_seq_id[i] = 1;
        batch_.seq_id[i][0] = sequence;
        batch_.logits[i] = output ? 1 : 0;
    }
    const llama_batch & get() const { return batch_; }

private:
    llama_batch batch_;
};

}  // namespace

StreamStats difference(const StreamStats & a, const StreamStats & b) {
    StreamStats result;
    result.requests = a.requests - b.requests;
    result.hits = a.hits - b.hits;
    result.read_bytes = a.read_bytes - b.read_bytes;
    result.evictions = a.evictions - b.evictions;
    result.stall_seconds = a.stall_seconds - b.stall_seconds;
    result.prefetch = difference(a.prefetch, b.prefetch);
    return result;
}

Result<std::unique_ptr<Session>> Session::create(Model & model) {
    std::unique_ptr<Session> session(new Session(model));
    llama_context_params params = context_params(model.options(), *model.handle());
    session->n_outputs_ = params.n_outputs_max;
    params.abort_callback = is_cancelled;
    params.abort_callback_data = session.get();
    ErrorCapture errors;
    session->context_.reset(llama_init_from_model(model.handle(), params));
    if (session->context_ == nullptr) {
        return Status(StatusCode::kUnsupported,
                      model.source().path() + ": llama.cpp cannot make a context: " + errors.first());
    }
    model.set_cancel_flag(&session->cancelled_);
    llama_attach_threadpool(session->context_.get(), model.threads(), nullptr);
    return session;
}

Session::~Session() {
    model_.set_cancel_flag(nullptr);
}

Status Session::reset(int32_t sequence) {
    llama_memory_t memory = llama_get_memory(context_.get());
    if (sequence >= n_sequences()) {
        return Status(StatusCode::kInvalidArgument, "sequence " + std::to_string(sequence) + " of " +
                                                        std::to_string(n_sequences()) +
                                                        ": load the model with more n_sequences");
    }
    if (memory == nullptr) {
        return Status::ok();
    }
    if (sequence < 0) {
        llama_memory_clear(memory, true);
    } else {
        llama_memory_seq_rm(memory, sequence, -1, -1);
    }
    return Status::ok();
}

int32_t Session::n_past(int32_t sequence) const {
    llama_memory_t memory = llama_get_memory(context_.get());
    return memory == nullptr ? 0 : llama_memory_seq_pos_max(memory, sequence) + 1;
}

Status Session::evaluate(const int32_t * tokens, const int32_t * sequences, size_t n_tokens, bool all_logits) {
    const int32_t n_vocab = llama_vocab_n_tokens(model_.vocab());
    std::map<int32_t, int32_t> next_position;
    Batch batch(n_tokens);
    std::map<int32_t, size_t> last;
    for (size_t i = 0; i < n_tokens; i++) {
        last[sequences != nullptr ? sequences[i] : 0] = i;
    }
    for (size_t i = 0; i < n_tokens; i++) {
        const int32_t sequence = sequences != nullptr ? sequences[i] : 0;
        if (sequence < 0 || sequence >= n_sequences()) {
            return Status(StatusCode::kInvalidArgument, "sequence " + std::to_string(sequence) + " of " +
                                                            std::to_string(n_sequences()) +
                                                            ": load the model with more n_sequences");
        }
        if (tokens[i] < 0 || tokens[i] >= n_vocab) {
            return Status(StatusCode::kInvalidArgument, "token " + std::to_string(tokens[i]) +
                                                            " is not in the vocabulary of " + std::to_string(n_vocab) +
                                                            " tokens");
        }
        const auto position = next_position.emplace(sequence, n_past(sequence)).first;
        batch.add(tokens[i], position->second++, sequence, all_logits || last[sequence] == i);
    }
    int64_t total = 0;
    for (int32_t sequence = 0; sequence < n_sequences(); sequence++) {
        const auto position = next_position.find(sequence);
        total += position != next_position.end() ? position->second : n_past(sequence);
    }
    if (total > n_ctx()) {
        return Status(StatusCode::kInvalidArgument, std::to_string(total) + " tokens do not fit the context of " +
                                                        std::to_string(n_ctx()) +
                                                        " tokens; load the model with a larger n_ctx");
    }

    (void)model_.take_failure();
    model_.announce_tokens(last.size() == 1 ? tokens : nullptr, n_tokens);
    ErrorCapture errors;
    const int32_t result = llama_decode(context_.get(), batch.get());
    llama_synchronize(context_.get());
    if (result == 0) {
        return Status::ok();
    }
    const Status failure = model_.take_failure();
    if (!failure.is_ok()) {
        return failure;
    }
    if (cancelled()) {
        return Status(StatusCode::kCancelled, "cancelled");
    }
    return Status(StatusCode::kInternal,
                  "llama.cpp cannot evaluate the tokens (" + std::to_string(result) + "): " + errors.first());
}

Status Session::evaluate_parts(const int32_t * tokens, const int32_t * sequences, size_t n_tokens, float * logits) {
    const auto n_vocab = static_cast<size_t>(llama_vocab_n_tokens(model_.vocab()));
    const size_t most = logits != nullptr ? std::min<size_t>(n_outputs_, static_cast<size_t>(n_batch()))
                                          : static_cast<size_t>(n_batch());
    std::vector<int32_t> before;
    for (int32_t sequence = 0; sequence < n_sequences(); sequence++) {
        before.push_back(n_past(sequence));
    }
    for (size_t done = 0; done < n_tokens; done += most) {
        const size_t n = std::min(most, n_tokens - done);
        Status status =
            evaluate(tokens + done, sequences != nullptr ? sequences + done : nullptr, n, logits != nullptr);
        if (!status.is_ok()) {
            take_back(before);
            return status;
        }
        for (size_t i = 0; logits != nullptr && i < n; i++) {
            std::memcpy(logits + (done + i) * n_vocab, llama_get_logits_ith(context_.get(), static_cast<int32_t>(i)),
                        n_vocab * sizeof(float));
        }
    }
    return Status::ok();
}

// Recurrent models cannot take back single tokens: their sequences are emptied.
void Session::take_back(const std::vector<int32_t> & n_past_before) {
    llama_memory_t memory = llama_get_memory(context_.get());
    for (int32_t sequence = 0; memory != nullptr && sequence < n_sequences(); sequence++) {
        const int32_t position = n_past_before[static_cast<size_t>(sequence)];
        if (n_past(sequence) != position && !llama_memory_seq_rm(memory, sequence, position, -1)) {
            llama_memory_seq_rm(memory, sequence, -1, -1);
        }
    }
}

Status Session::decode(const int32_t * tokens, const int32_t * sequences, size_t n_tokens, float * logits) {
    if (n_tokens > static_cast<size_t>(n_batch())) {
        return Status(StatusCode::kInvalidArgument,
                      std::to_string(n_tokens) + " tokens are more than n_batch (" + std::to_string(n_batch()) + ")");
    }
    if (n_tokens == 0) {
        return Status::ok();
    }
    const auto start = std::chrono::steady_clock::now();
    const StreamStats before = model_.store() != nullptr ? model_.store()->stats() : StreamStats();
    const bool one = n_tokens == 1;
    model_.set_recorded_phase(one ? TracePhase::kDecode : TracePhase::kPrompt);
    Status status = evaluate_parts(tokens, sequences, n_tokens, logits);
    if (!status.is_ok()) {
        return status;
    }
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    const StreamStats spent = difference(model_.store() != nullptr ? model_.store()->stats() : StreamStats(), before);
    std::lock_guard<std::mutex> lock(stats_mutex_);
    StreamStats & sum = one ? stats_.generation : stats_.prompt;
    sum.requests += spent.requests;
    sum.hits += spent.hits;
    sum.read_bytes += spent.read_bytes;
    sum.evictions += spent.evictions;
    sum.stall_seconds += spent.stall_seconds;
    add(spent.prefetch, &sum.prefetch);
    (one ? stats_.generation_seconds : stats_.prompt_seconds) += seconds;
    (one ? stats_.generated_tokens : stats_.prompt_tokens) += n_tokens;
    stats_.generation_steps += one ? 1 : 0;
    return Status::ok();
}

Status Session::append(const int32_t * tokens, size_t n_tokens) {
    return evaluate_parts(tokens, nullptr, n_tokens, nullptr);
}

Status Session::shift_context(int32_t n_keep) {
    llama_memory_t memory = llama_get_memory(context_.get());
    if (memory == nullptr || !llama_memory_can_shift(memory)) {
        return Status(StatusCode::kUnsupported, "this model's context cannot be shifted");
    }
    const int32_t past = n_past(0);
    n_keep = std::min(n_keep, past / 2);
    const int32_t n_discard = std::max(1, (past - n_keep) / 2);
    llama_memory_seq_rm(memory, 0, n_keep, n_keep + n_discard);
    llama_memory_seq_add(memory, 0, n_keep + n_discard, past, -n_discard);
    return Status::ok();
}

SessionStats Session::stats() const {
    std::lock_guard<std::mutex> lock(stats_mutex_);
    return stats_;
}

void Session::set_stats(const SessionStats & stats) {
    std::lock_guard<std::mutex> lock(stats_mutex_);
    stats_ = stats;
}

}  // namespace edgemoe
