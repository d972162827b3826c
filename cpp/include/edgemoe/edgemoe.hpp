// C++17 over edgemoe.h, header only: handles that free themselves, strings and vectors for buffers, exceptions for
// codes.
//
// Threads: as in edgemoe.h. A Model may be used from any thread, its calls take turns; cancel() and stats() never wait.
// Moving or destroying a Model while one of its calls runs is the caller's race.
// Errors: every function that can fail throws Error; a failed call leaves its outputs alone.
#ifndef EDGEMOE_HPP
#define EDGEMOE_HPP

#include <edgemoe/edgemoe.h>

#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace edgemoe::client {

// What edgemoe_error says; code() is never EDGEMOE_OK.
class Error : public std::runtime_error {
public:
    Error(edgemoe_code code, const std::string & message) : std::runtime_error(message), code_(code) {}
    edgemoe_code code() const noexcept { return code_; }

private:
    edgemoe_code code_;
};

// Throws what `error` says if `code` is not EDGEMOE_OK.
inline void check(edgemoe_code code, const edgemoe_error & error) {
    if (code != EDGEMOE_OK) {
        throw Error(code, error.message);
    }
}

inline edgemoe_load_params default_load_params() {
    edgemoe_load_params params;
    edgemoe_load_params_init(&params);
    return params;
}

inline edgemoe_generate_params default_generate_params() {
    edgemoe_generate_params params;
    edgemoe_generate_params_init(&params);
    return params;
}

inline edgemoe_unpack_params default_unpack_params() {
    edgemoe_unpack_params params;
    edgemoe_unpack_params_init(&params);
    return params;
}

inline edgemoe_evaluate_params default_evaluate_params() {
    edgemoe_evaluate_params params;
    edgemoe_evaluate_params_init(&params);
    return params;
}

inline edgemoe_profile_params default_profile_params() {
    edgemoe_profile_params params;
    edgemoe_profile_params_init(&params);
    return params;
}

inline edgemoe_judge_params default_judge_params() {
    edgemoe_judge_params params;
    edgemoe_judge_params_init(&params);
    return params;
}

inline edgemoe_pack_params default_pack_params() {
    edgemoe_pack_params params;
    edgemoe_pack_params_init(&params);
    return params;
}

// As edgemoe_job_callback; what it throws stops the job and is thrown by the function that was given it.
using JobProgress = std::function<bool(const char * step, double fraction, double seconds_left)>;

struct Message {
    std::string role;
    std::string content;
};

namespace detail {

// For what edgemoe.h takes zero-terminated: a path with a zero inside would silently name another file.
inline const char * zero_terminated(const std::string & text, const char * what) {
    if (text.find('\0') != std::string::npos) {
        throw Error(EDGEMOE_INVALID_ARGUMENT, std::string(what) + " contains a zero byte");
    }
    return text.c_str();
}

// A C++ callback behind a C one: an exception is kept, stops the C call, and is thrown again after it.
template <typename... Arguments>
struct Callback {
    const std::function<bool(Arguments...)> & function;
    std::exception_ptr thrown = nullptr;

    bool operator()(Arguments... arguments) noexcept {
        try {
            return !thrown && function(arguments...);
        } catch (...) {
            thrown = std::current_exception();
            return false;
        }
    }
    void rethrow() const {
        if (thrown) {
            std::rethrow_exception(thrown);
        }
    }
};

using JobCallback = Callback<const char *, double, double>;

// An edgemoe_job_callback whose user data is a JobCallback.
inline bool report_job(const char * step, double fraction, double seconds_left, void * user_data) {
    return (*static_cast<JobCallback *>(user_data))(step, fraction, seconds_left);
}

// Puts `callback` into the params of a job.
template <typename Params>
void set_progress(Params & params, JobCallback & callback) {
    if (callback.function) {
        params.progress = report_job;
        params.progress_user_data = &callback;
    }
}

inline std::string take(edgemoe_text & text) {
    const std::unique_ptr<edgemoe_text, decltype(&edgemoe_text_free)> owner(&text, edgemoe_text_free);
    return text.size == 0 ? std::string() : std::string(text.data, text.size);
}

}  // namespace detail

// What the headers of a model file say, without loading it. Immutable.
class Description {
public:
    // Throws Error. `params`: the options that the memory figures are for.
    explicit Description(const std::string & path, const edgemoe_load_params & params = default_load_params())
        : owner_(nullptr, edgemoe_description_free) {
        edgemoe_model_info_init(&info_);
        edgemoe_description * description = nullptr;
        edgemoe_error error;
        check(edgemoe_inspect(detail::zero_terminated(path, "the path"), &params, &info_, &description, &error), error);
        owner_.reset(description);
    }

    // Its strings live as long as this object.
    const edgemoe_model_info & info() const noexcept { return info_; }

    // Experts' types, by layer, projection and type.
    std::vector<edgemoe_type_use> types() const {
        const edgemoe_type_use * uses = nullptr;
        size_t n_uses = 0;
        edgemoe_error error;
        check(edgemoe_description_types(owner_.get(), &uses, &n_uses, &error), error);
        return {uses, uses + n_uses};
    }

    // What a packed file says about itself, by name; empty for other files.
    std::vector<std::pair<std::string, std::string>> packed() const {
        const edgemoe_packed_entry * entries = nullptr;
        size_t n_entries = 0;
        edgemoe_error error;
        check(edgemoe_description_packed(owner_.get(), &entries, &n_entries, &error), error);
        std::vector<std::pair<std::string, std::string>> texts;
        for (size_t i = 0; i < n_entries; ++i) {
            texts.emplace_back(entries[i].name, entries[i].value);
        }
        return texts;
    }

private:
    edgemoe_model_info info_;
    std::unique_ptr<edgemoe_description, decltype(&edgemoe_description_free)> owner_;
};

// A loaded model; the destructor cancels what runs and frees it.
class Model {
public:
    // Loads the model at `path`. `progress` (may be empty; fraction from 0 to 1, false stops) is called from the
    // loading thread and takes the place of params.progress; what it throws is thrown here.
    static Model load(const std::string & path, const edgemoe_load_params & params = default_load_params(),
                      const std::function<bool(float)> & progress = {}) {
        edgemoe_load_params effective = params;
        detail::Callback<float> callback{progress};
        if (progress) {
            effective.progress = [](float fraction, void * user_data) {
                return (*static_cast<detail::Callback<float> *>(user_data))(fraction);
            };
            effective.progress_user_data = &callback;
        }
        edgemoe_model * model = nullptr;
        edgemoe_error error;
        const edgemoe_code code = edgemoe_load(detail::zero_terminated(path, "the path"), &effective, &model, &error);
        Model loaded(model);
        callback.rethrow();
        check(code, error);
        return loaded;
    }

    // The C handle, borrowed.
    edgemoe_model * get() const noexcept { return handle_.get(); }

    // Its strings live as long as the model.
    edgemoe_model_info info() const {
        edgemoe_model_info info;
        edgemoe_model_info_init(&info);
        edgemoe_error error;
        check(edgemoe_info(get(), &info, &error), error);
        return info;
    }

    edgemoe_stats stats() const {
        edgemoe_stats stats;
        edgemoe_stats_init(&stats);
        edgemoe_error error;
        check(edgemoe_stats_get(get(), &stats, &error), error);
        return stats;
    }

    // By layer and distance; empty where nothing was forecast.
    std::vector<edgemoe_layer_recall> forecast_recall() const {
        edgemoe_recall recall{};
        edgemoe_error error;
        check(edgemoe_forecast_recall(get(), &recall, &error), error);
        const std::unique_ptr<edgemoe_recall, decltype(&edgemoe_recall_free)> owner(&recall, edgemoe_recall_free);
        return {recall.data, recall.data + recall.size};
    }

    std::vector<std::int32_t> tokenize(std::string_view text, bool add_special = true, bool parse_special = false) {
        edgemoe_tokens tokens{};
        edgemoe_error error;
        check(edgemoe_tokenize(get(), text.data(), text.size(), add_special, parse_special, &tokens, &error), error);
        const std::unique_ptr<edgemoe_tokens, decltype(&edgemoe_tokens_free)> owner(&tokens, edgemoe_tokens_free);
        return {tokens.data, tokens.data + tokens.size};
    }

    // The bytes of the tokens; they may begin or end inside a UTF-8 character.
    std::string detokenize(const std::int32_t * tokens, std::size_t n_tokens, bool special = false) {
        edgemoe_text text{};
        edgemoe_error error;
        check(edgemoe_detokenize(get(), tokens, n_tokens, special, &text, &error), error);
        return detail::take(text);
    }

    // The prompt that the model's chat template makes of `messages`.
    std::string apply_chat_template(const std::vector<Message> & messages, bool add_assistant = true) {
        std::vector<edgemoe_message> borrowed;
        borrowed.reserve(messages.size());
        for (const Message & message : messages) {
            borrowed.push_back({detail::zero_terminated(message.role, "a message's role"),
                                detail::zero_terminated(message.content, "a message's content")});
        }
        edgemoe_text text{};
        edgemoe_error error;
        check(edgemoe_apply_chat_template(get(), borrowed.data(), borrowed.size(), add_assistant, &text, &error),
              error);
        return detail::take(text);
    }

    // Forgets all sequences (sequence < 0) or one.
    void reset(std::int32_t sequence = -1) {
        edgemoe_error error;
        check(edgemoe_reset(get(), sequence, &error), error);
    }

    // Appends the tokens to their sequences (`sequences` NULL: all to 0) and evaluates them. `logits`: NULL, or room
    // for [n_tokens, n_vocab] floats. After a failure the sequences are as before.
    void decode(const std::int32_t * tokens, const std::int32_t * sequences, std::size_t n_tokens, float * logits) {
        edgemoe_error error;
        check(edgemoe_decode(get(), tokens, sequences, n_tokens, logits, &error), error);
    }

    // Generates from `prompt` and gives the text to `on_text` (may be empty) in pieces of complete UTF-8 characters;
    // false stops, and what it throws is thrown here.
    edgemoe_stop_reason generate(std::string_view prompt, const edgemoe_generate_params & params,
                                 const std::function<bool(std::string_view)> & on_text) {
        detail::Callback<std::string_view> callback{on_text};
        const edgemoe_text_callback forward = [](const char * text, size_t size, void * user_data) {
            return (*static_cast<detail::Callback<std::string_view> *>(user_data))({text, size});
        };
        edgemoe_stop_reason reason = EDGEMOE_STOP_LENGTH;
        edgemoe_error error;
        const edgemoe_code code = edgemoe_generate(get(), prompt.data(), prompt.size(), &params,
                                                   on_text ? forward : nullptr, &callback, &reason, &error);
        callback.rethrow();
        check(code, error);
        return reason;
    }

    // Writes what the routers choose to a trace file until stop_recording(), which says if that went well.
    void start_recording(const std::string & path) {
        edgemoe_error error;
        check(edgemoe_start_recording(get(), detail::zero_terminated(path, "the path"), &error), error);
    }
    void stop_recording() {
        edgemoe_error error;
        check(edgemoe_stop_recording(get(), &error), error);
    }

    // Stops what runs on this model, from any thread.
    void cancel() noexcept { edgemoe_cancel(get()); }

private:
    explicit Model(edgemoe_model * model) : handle_(model, edgemoe_free) {}

    std::unique_ptr<edgemoe_model, decltype(&edgemoe_free)> handle_;
};

inline edgemoe_plan_params default_plan_params() {
    edgemoe_plan_params params;
    edgemoe_plan_params_init(&params);
    return params;
}

inline edgemoe_replay_params default_replay_params() {
    edgemoe_replay_params params;
    edgemoe_replay_params_init(&params);
    return params;
}

// What loading the model at `path` with `params` would give.
inline edgemoe_forecast plan(const std::string & path, const edgemoe_load_params & params = default_load_params(),
                             const edgemoe_plan_params & plan_params = default_plan_params()) {
    edgemoe_forecast forecast;
    edgemoe_forecast_init(&forecast);
    edgemoe_error error;
    check(edgemoe_plan(detail::zero_terminated(path, "the path"), &params, &plan_params, &forecast, &error), error);
    return forecast;
}

// A routing trace replayed through eviction policies. Immutable; strings in what it returns live as long as it does.
class Replay {
public:
    explicit Replay(const std::string & path, const edgemoe_replay_params & params = default_replay_params())
        : handle_(nullptr, edgemoe_replay_free) {
        edgemoe_replay * replay = nullptr;
        edgemoe_error error;
        check(edgemoe_replay_open(detail::zero_terminated(path, "the path"), &params, &replay, &error), error);
        handle_.reset(replay);
    }

    edgemoe_replay_info info() const {
        edgemoe_replay_info info;
        edgemoe_replay_info_init(&info);
        edgemoe_error error;
        check(edgemoe_replay_describe(handle_.get(), &info, &error), error);
        return info;
    }

    // i < info().n_rows
    edgemoe_replay_row row(std::size_t i) const {
        edgemoe_replay_row row;
        edgemoe_replay_row_init(&row);
        edgemoe_error error;
        check(edgemoe_replay_get(handle_.get(), i, &row, &error), error);
        return row;
    }

private:
    std::unique_ptr<edgemoe_replay, decltype(&edgemoe_replay_free)> handle_;
};

// How good the model at `path` is on `text` (UTF-8), and how far from params.against. `progress` (may be empty) takes
// the place of params.progress.
inline edgemoe_evaluation evaluate(const std::string & path, std::string_view text,
                                   const edgemoe_evaluate_params & params = default_evaluate_params(),
                                   const JobProgress & progress = {}) {
    edgemoe_evaluate_params effective = params;
    detail::JobCallback callback{progress};
    detail::set_progress(effective, callback);
    edgemoe_evaluation evaluation;
    edgemoe_evaluation_init(&evaluation);
    edgemoe_error error;
    const edgemoe_code code = edgemoe_evaluate(detail::zero_terminated(path, "the path"), text.data(), text.size(),
                                               &effective, &evaluation, &error);
    callback.rethrow();
    check(code, error);
    return evaluation;
}

// What is known about a model's experts on a text. Immutable.
class Profile {
public:
    explicit Profile(const std::string & path) : handle_(nullptr, edgemoe_profile_free) {
        edgemoe_profile * profile = nullptr;
        edgemoe_error error;
        check(edgemoe_profile_open(detail::zero_terminated(path, "the path"), &profile, &error), error);
        handle_.reset(profile);
    }

    // Profiles the model at `path` on `text` (UTF-8) and writes the profile to `output`. `progress` (may be empty)
    // takes the place of params.progress.
    static Profile run(const std::string & path, std::string_view text, const std::string & output,
                       const edgemoe_profile_params & params = default_profile_params(),
                       const JobProgress & progress = {}) {
        edgemoe_profile_params effective = params;
        detail::JobCallback callback{progress};
        detail::set_progress(effective, callback);
        edgemoe_profile * profile = nullptr;
        edgemoe_error error;
        const edgemoe_code code =
            edgemoe_profile_run(detail::zero_terminated(path, "the path"), text.data(), text.size(),
                                detail::zero_terminated(output, "the output's path"), &effective, &profile, &error);
        Profile made(profile);
        callback.rethrow();
        check(code, error);
        return made;
    }

    // Its strings live as long as the profile.
    edgemoe_profile_info info() const {
        edgemoe_profile_info info;
        edgemoe_profile_info_init(&info);
        edgemoe_error error;
        check(edgemoe_profile_info_get(handle_.get(), &info, &error), error);
        return info;
    }

    // Its arrays live as long as the profile. `index`: below info().n_layers.
    edgemoe_layer_profile layer(std::size_t index) const {
        edgemoe_layer_profile layer;
        edgemoe_layer_profile_init(&layer);
        edgemoe_error error;
        check(edgemoe_profile_layer_get(handle_.get(), index, &layer, &error), error);
        return layer;
    }

private:
    explicit Profile(edgemoe_profile * profile) : handle_(profile, edgemoe_profile_free) {}

    std::unique_ptr<edgemoe_profile, decltype(&edgemoe_profile_free)> handle_;
};

// How well each predictor, fitted on the text of `profile`, knows on `text` (UTF-8) which experts come next; returns
// the report, a JSON object. `progress` (may be empty) takes the place of params.progress.
inline std::string judge_predictors(const std::string & path, const std::string & profile, const std::string & text,
                                    const edgemoe_judge_params & params = default_judge_params(),
                                    const JobProgress & progress = {}) {
    edgemoe_judge_params effective = params;
    detail::JobCallback callback{progress};
    detail::set_progress(effective, callback);
    edgemoe_text report{};
    edgemoe_error error;
    const edgemoe_code code = edgemoe_judge_predictors(detail::zero_terminated(path, "the path"),
                                                       detail::zero_terminated(profile, "the profile's path"),
                                                       text.data(), text.size(), &effective, &report, &error);
    callback.rethrow();
    check(code, error);
    return detail::take(report);
}

// Packs the model at `path` by `profile` into `output` (not used in a dry run); returns the report, a JSON object.
// `progress` (may be empty) takes the place of params.progress.
inline std::string pack(const std::string & path, const std::string & profile, const std::string & output,
                        const edgemoe_pack_params & params, const JobProgress & progress = {}) {
    edgemoe_pack_params effective = params;
    detail::JobCallback callback{progress};
    detail::set_progress(effective, callback);
    edgemoe_text report{};
    edgemoe_error error;
    const edgemoe_code code =
        edgemoe_pack(detail::zero_terminated(path, "the path"), detail::zero_terminated(profile, "the profile's path"),
                     detail::zero_terminated(output, "the output's path"), &effective, &report, &error);
    callback.rethrow();
    check(code, error);
    return detail::take(report);
}

// Packs the model at `path` as it is into the packed file `output`. `progress` may be empty.
inline void repack(const std::string & path, const std::string & output, const JobProgress & progress = {}) {
    detail::JobCallback callback{progress};
    edgemoe_error error;
    const edgemoe_code code =
        edgemoe_repack(detail::zero_terminated(path, "the path"), detail::zero_terminated(output, "the output's path"),
                       progress ? detail::report_job : nullptr, &callback, &error);
    callback.rethrow();
    check(code, error);
}

// Makes the stock GGUF file `output` of the packed file at `path`. `progress` (may be empty) takes the place of
// params.progress.
inline void unpack(const std::string & path, const std::string & output,
                   const edgemoe_unpack_params & params = default_unpack_params(), const JobProgress & progress = {}) {
    edgemoe_unpack_params effective = params;
    detail::JobCallback callback{progress};
    detail::set_progress(effective, callback);
    edgemoe_error error;
    const edgemoe_code code = edgemoe_unpack(detail::zero_terminated(path, "the path"),
                                             detail::zero_terminated(output, "the output's path"), &effective, &error);
    callback.rethrow();
    check(code, error);
}

}  // namespace edgemoe::client

#endif
