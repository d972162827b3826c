#include "engine/generation.h"

#include "engine/chat.h"
#include "engine/utf8.h"

#include <algorithm>
#include <chrono>

namespace edgemoe {

namespace {

// Holds text back while it may be the beginning of a stop text.
class StopTexts {
public:
    explicit StopTexts(const std::vector<std::string> & stops) : stops_(stops) {}

    // What may be shown of what came so far. *found: a stop text came, and what stood before it was returned.
    std::string push(const std::string & text, bool last, bool * found) {
        held_ += text;
        size_t first = std::string::npos;
        for (const std::string & stop : stops_) {
            first = stop.empty() ? first : std::min(first, held_.find(stop));
        }
        *found = first != std::string::npos;
        size_t shown = *found ? first : held_.size();
        if (!*found && !last) {
            for (const std::string & stop : stops_) {
                for (size_t n = std::min(stop.size(), held_.size()); n > 0; n--) {
                    if (held_.compare(held_.size() - n, n, stop, 0, n) == 0) {
                        shown = std::min(shown, held_.size() - n);
                        break;
                    }
                }
            }
        }
        std::string result = held_.substr(0, shown);
        held_.erase(0, shown);
        return result;
    }

private:
    const std::vector<std::string> & stops_;
    std::string held_;
};

using Clock = std::chrono::steady_clock;
double seconds_since(Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
}

StreamStats store_stats(const Model & model) {
    return model.store() != nullptr ? model.store()->stats() : StreamStats();
}

}  // namespace

Result<StopReason> generate(Session & session, const std::string & prompt, const GenerateOptions & options,
                            const std::function<bool(const std::string &)> & on_text) {
    Model & model = session.model();
    Result<std::vector<int32_t>> prompt_tokens =
        tokenize(model, prompt.data(), prompt.size(), options.add_special, options.parse_special);
    if (!prompt_tokens.is_ok()) {
        return prompt_tokens.status();
    }
    std::vector<int32_t> tokens = std::move(prompt_tokens).value();
    if (tokens.empty() && llama_vocab_bos(model.vocab()) != LLAMA_TOKEN_NULL) {
        tokens.push_back(llama_vocab_bos(model.vocab()));
    }
    if (tokens.empty()) {
        return Status(StatusCode::kInvalidArgument,
                      "the prompt is empty, and the model has no beginning-of-text token to start from");
    }
    if (tokens.size() > static_cast<size_t>(session.n_ctx())) {
        return Status(StatusCode::kInvalidArgument, "the prompt has " + std::to_string(tokens.size()) +
                                                        " tokens, the context " + std::to_string(session.n_ctx()) +
                                                        "; load the model with a larger n_ctx");
    }
    Status status = session.reset(0);
    if (!status.is_ok()) {
        return status;
    }

    SessionStats stats;
    const StreamStats at_start = store_stats(model);
    auto start = Clock::now();
    session.set_stats(stats);
    model.set_recorded_phase(TracePhase::kPrompt);
    status = session.append(tokens.data(), tokens.size());
    stats.prompt_seconds = seconds_since(start);
    stats.prompt_tokens = tokens.size();
    const StreamStats after_prompt = store_stats(model);
    stats.prompt = difference(after_prompt, at_start);
    session.set_stats(stats);
    if (!status.is_ok()) {
        if (status.code() == StatusCode::kCancelled) {
            return StopReason::kCancelled;
        }
        return status;
    }

    const auto finish = [&](const StopReason reason) -> Result<StopReason> {
        stats.generation_seconds = seconds_since(start);
        stats.generation = difference(store_stats(model), after_prompt);
        session.set_stats(stats);
        return reason;
    };

    start = Clock::now();
    model.set_recorded_phase(TracePhase::kDecode);
    LlamaSampler sampler = make_sampler(*model.handle(), options.sampling);
    for (int32_t token : tokens) {
        llama_sampler_accept(sampler.get(), token);
    }
    StopTexts stop_texts(options.stop);
    std::string bytes;
    StopReason reason = StopReason::kLength;
    bool found = false;
    while (options.max_tokens < 0 || stats.generated_tokens < static_cast<uint64_t>(options.max_tokens)) {
        if (session.cancelled()) {
            reason = StopReason::kCancelled;
            break;
        }
        const int32_t token = llama_sampler_sample(sampler.get(), session.handle(), -1);
        stats.generated_tokens++;
        const bool ends = llama_vocab_is_eog(model.vocab(), token);
        if (ends && !options.ignore_eos) {
            reason = StopReason::kEnd;
            break;
        }
        Result<std::string> piece = detokenize(model, &token, 1, ends);
        bytes += piece.is_ok() ? piece.value() : "";
        const std::string shown = stop_texts.push(take_complete_utf8(&bytes, false), false, &found);
        if (!shown.empty() && !on_text(shown)) {
            return finish(StopReason::kCancelled);
        }
        if (found) {
            return finish(StopReason::kText);
        }
        if (options.max_tokens >= 0 && stats.generated_tokens >= static_cast<uint64_t>(options.max_tokens)) {
            break;  // the last token's successor is not asked for
        }
        if (session.n_past(0) >= session.n_ctx()) {
            status = options.context_shift ? session.shift_context(static_cast<int32_t>(tokens.size()))
                                           : Status(StatusCode::kUnsupported, "");
            if (!status.is_ok()) {
                reason = StopReason::kContext;
                break;
            }
        }
        status = session.append(&token, 1);
        if (!status.is_ok()) {
            if (status.code() == StatusCode::kCancelled) {
                reason = StopReason::kCancelled;
                break;
            }
            (void)finish(reason);
            return status;
        }
        stats.generation_steps++;
    }
    const std::string rest = stop_texts.push(take_complete_utf8(&bytes, true), true, &found);
    if (!rest.empty()) {
        on_text(rest);
    }
    return finish(found ? StopReason::kText : reason);
}

}  // namespace edgemoe
