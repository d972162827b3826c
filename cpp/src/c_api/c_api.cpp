// Every function: guard -> engine call -> code and message, nothing else.
#include "edgemoe/edgemoe.h"

#include "c_api/call.h"
#include "c_api/description.h"
#include "c_api/packed_description.h"
#include "engine/chat.h"
#include "engine/generation.h"
#include "engine/log.h"
#include "engine/model.h"
#include "engine/process_memory.h"
#include "engine/session.h"

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <vector>

struct edgemoe_model {
    std::unique_ptr<edgemoe::Model> model;
    std::unique_ptr<edgemoe::Session> session;  // after the model: destroyed before it
    edgemoe::DescriptionStrings strings;
    edgemoe_model_info info = {};
    std::mutex turn;  // held by the call that runs
};

struct edgemoe_description {
    edgemoe::DescriptionStrings strings;
    edgemoe::PackedDescription packed;
};

namespace {

using edgemoe::Status;
using edgemoe::StatusCode;
using edgemoe::capi::give_array;
using edgemoe::capi::give_record;
using edgemoe::capi::guard;
using edgemoe::capi::load_options;
using edgemoe::capi::take_params;

}  // namespace

extern "C" {

const char * edgemoe_version(void) {
    return EDGEMOE_VERSION;
}

void edgemoe_log_set(edgemoe_log_callback callback, void * user_data) {
    // The same signature but for the enum's name.
    edgemoe::set_log_callback(reinterpret_cast<edgemoe::LogCallback>(callback), user_data);
}

void edgemoe_load_params_init(edgemoe_load_params * params) {
    *params = {};
    params->struct_size = sizeof(*params);
    params->direct_io = EDGEMOE_AUTO;
    params->flash_attention = EDGEMOE_AUTO;
    params->row_tables = EDGEMOE_AUTO;
    params->prefetch = EDGEMOE_PREFETCH_AUTO;
    params->prewarm = EDGEMOE_AUTO;
}

edgemoe_code edgemoe_load(const char * path, const edgemoe_load_params * params, edgemoe_model ** model,
                          edgemoe_error * error) {
    return guard(error, {{path, "path"}, {model, "model"}}, [&]() -> Status {
        edgemoe::LoadOptions options;
        Status status = load_options(params, &options);
        if (!status.is_ok()) {
            return status;
        }
        auto handle = std::make_unique<edgemoe_model>();
        auto loaded = edgemoe::Model::load(path, options);
        if (!loaded.is_ok()) {
            return loaded.status();
        }
        handle->model = std::move(loaded).value();
        auto session = edgemoe::Session::create(*handle->model);
        if (!session.is_ok()) {
            return session.status();
        }
        handle->session = std::move(session).value();
        edgemoe::describe_model(*handle->model, handle->session->n_ctx(), handle->session->n_batch(), &handle->strings,
                                &handle->info);
        *model = handle.release();
        return Status::ok();
    });
}

void edgemoe_free(edgemoe_model * model) {
    if (model != nullptr) {
        model->session->cancel();
        { std::lock_guard<std::mutex> turn(model->turn); }
        delete model;
    }
}

void edgemoe_model_info_init(edgemoe_model_info * info) {
    *info = {};
    info->struct_size = sizeof(*info);
}

edgemoe_code edgemoe_info(const edgemoe_model * model, edgemoe_model_info * info, edgemoe_error * error) {
    return guard(error, {{model, "model"}, {info, "info"}}, [&] { return give_record(model->info, info); });
}

edgemoe_code edgemoe_inspect(const char * path, const edgemoe_load_params * params, edgemoe_model_info * info,
                             edgemoe_description ** description, edgemoe_error * error) {
    return guard(error, {{path, "path"}, {info, "info"}, {description, "description"}}, [&]() -> Status {
        edgemoe::LoadOptions options;
        Status status = load_options(params, &options);
        if (!status.is_ok()) {
            return status;
        }
        auto found = edgemoe::Model::describe(path, options);
        if (!found.is_ok()) {
            return found.status();
        }
        auto owner = std::make_unique<edgemoe_description>();
        edgemoe_model_info record = {};
        edgemoe::describe_source(*found.value().source, found.value().plan, &owner->strings, &record);
        owner->packed = edgemoe::describe_packed(*found.value().source);
        status = give_record(record, info);
        if (status.is_ok()) {
            *description = owner.release();
        }
        return status;
    });
}

void edgemoe_description_free(edgemoe_description * description) {
    delete description;
}

edgemoe_code edgemoe_description_types(const edgemoe_description * description, const edgemoe_type_use ** uses,
                                       size_t * n_uses, edgemoe_error * error) {
    return guard(error, {{description, "description"}, {uses, "uses"}, {n_uses, "n_uses"}}, [&] {
        *uses = description->packed.uses.data();
        *n_uses = description->packed.uses.size();
        return Status::ok();
    });
}

edgemoe_code edgemoe_description_packed(const edgemoe_description * description, const edgemoe_packed_entry ** entries,
                                        size_t * n_entries, edgemoe_error * error) {
    return guard(error, {{description, "description"}, {entries, "entries"}, {n_entries, "n_entries"}}, [&] {
        *entries = description->packed.entries.data();
        *n_entries = description->packed.entries.size();
        return Status::ok();
    });
}

void edgemoe_tokens_free(edgemoe_tokens * tokens) {
    if (tokens != nullptr) {
        std::free(tokens->data);
        *tokens = {};
    }
}

void edgemoe_text_free(edgemoe_text * text) {
    if (text != nullptr) {
        std::free(text->data);
        *text = {};
    }
}

edgemoe_code edgemoe_tokenize(edgemoe_model * model, const char * text, size_t text_size, bool add_special,
                              bool parse_special, edgemoe_tokens * tokens, edgemoe_error * error) {
    return guard(error, {{model, "model"}, {text, "text"}, {tokens, "tokens"}}, [&]() -> Status {
        const auto result = edgemoe::tokenize(*model->model, text, text_size, add_special, parse_special);
        return result.is_ok() ? give_array(result.value().data(), result.value().size(), &tokens->data, &tokens->size)
                              : result.status();
    });
}

edgemoe_code edgemoe_detokenize(edgemoe_model * model, const int32_t * tokens, size_t n_tokens, bool special,
                                edgemoe_text * text, edgemoe_error * error) {
    return guard(error, {{model, "model"}, {text, "text"}}, [&]() -> Status {
        const auto result = edgemoe::detokenize(*model->model, tokens, n_tokens, special);
        return result.is_ok() ? give_array(result.value().data(), result.value().size(), &text->data, &text->size)
                              : result.status();
    });
}

edgemoe_code edgemoe_apply_chat_template(edgemoe_model * model, const edgemoe_message * messages, size_t n_messages,
                                         bool add_assistant, edgemoe_text * text, edgemoe_error * error) {
    return guard(error, {{model, "model"}, {text, "text"}}, [&]() -> Status {
        std::vector<edgemoe::ChatMessage> chat;
        for (size_t i = 0; i < n_messages; i++) {
            chat.push_back({messages[i].role, messages[i].content});
        }
        const auto result = edgemoe::apply_chat_template(*model->model, chat, add_assistant);
        return result.is_ok() ? give_array(result.value().data(), result.value().size(), &text->data, &text->size)
                              : result.status();
    });
}

edgemoe_code edgemoe_reset(edgemoe_model * model, int32_t sequence, edgemoe_error * error) {
    return guard(error, {{model, "model"}}, [&] {
        std::lock_guard<std::mutex> turn(model->turn);
        return model->session->reset(sequence);
    });
}

edgemoe_code edgemoe_decode(edgemoe_model * model, const int32_t * tokens, const int32_t * sequences, size_t n_tokens,
                            float * logits, edgemoe_error * error) {
    return guard(error, {{model, "model"}}, [&] {
        std::lock_guard<std::mutex> turn(model->turn);
        model->session->begin();
        return model->session->decode(tokens, sequences, n_tokens, logits);
    });
}

void edgemoe_generate_params_init(edgemoe_generate_params * params) {
    const edgemoe::GenerateOptions defaults;
    *params = {};
    params->struct_size = sizeof(*params);
    params->max_tokens = defaults.max_tokens;
    params->temperature = defaults.sampling.temperature;
    params->top_k = defaults.sampling.top_k;
    params->top_p = defaults.sampling.top_p;
    params->min_p = defaults.sampling.min_p;
    params->repeat_penalty = defaults.sampling.repeat_penalty;
    params->repeat_last_n = defaults.sampling.repeat_last_n;
    params->seed = defaults.sampling.seed;
    params->ignore_eos = defaults.ignore_eos;
    params->add_special = defaults.add_special;
    params->parse_special = defaults.parse_special;
    params->context_shift = defaults.context_shift;
}

edgemoe_code edgemoe_generate(edgemoe_model * model, const char * prompt, size_t prompt_size,
                              const edgemoe_generate_params * given, edgemoe_text_callback callback, void * user_data,
                              edgemoe_stop_reason * reason, edgemoe_error * error) {
    return guard(error, {{model, "model"}, {prompt, "prompt"}}, [&]() -> Status {
        edgemoe_generate_params params;
        Status status = take_params(given, edgemoe_generate_params_init, &params);
        if (!status.is_ok()) {
            return status;
        }
        edgemoe::GenerateOptions options;
        options.max_tokens = params.max_tokens;
        options.sampling = {params.temperature,    params.top_k,         params.top_p, params.min_p,
                            params.repeat_penalty, params.repeat_last_n, params.seed};
        options.ignore_eos = params.ignore_eos;
        options.add_special = params.add_special;
        options.parse_special = params.parse_special;
        options.context_shift = params.context_shift;
        for (size_t i = 0; i < params.n_stop; i++) {
            options.stop.emplace_back(params.stop[i]);
        }
        std::lock_guard<std::mutex> turn(model->turn);
        model->session->begin();
        const auto result = edgemoe::generate(
            *model->session, std::string(prompt, prompt_size), options, [&](const std::string & text) {
                return callback == nullptr || callback(text.data(), text.size(), user_data);
            });
        if (result.is_ok() && reason != nullptr) {
            *reason = static_cast<edgemoe_stop_reason>(result.value());
        }
        return result.status();
    });
}

void edgemoe_cancel(edgemoe_model * model) {
    model->session->cancel();
}

void edgemoe_stats_init(edgemoe_stats * stats) {
    *stats = {};
    stats->struct_size = sizeof(*stats);
}

edgemoe_code edgemoe_stats_get(const edgemoe_model * model, edgemoe_stats * stats, edgemoe_error * error) {
    return guard(error, {{model, "model"}, {stats, "stats"}}, [&] {
        const edgemoe::SessionStats measured = model->session->stats();
        const auto ratio = [](double a, double b, double fallback) { return b > 0 ? a / b : fallback; };
        edgemoe_stats record = {};
        record.prompt_tokens = measured.prompt_tokens;
        record.generated_tokens = measured.generated_tokens;
        record.prompt_seconds = measured.prompt_seconds;
        record.generation_seconds = measured.generation_seconds;
        record.prompt_tokens_per_second =
            ratio(static_cast<double>(measured.prompt_tokens), measured.prompt_seconds, 0);
        record.generation_tokens_per_second =
            ratio(static_cast<double>(measured.generation_steps), measured.generation_seconds, 0);
        record.load_seconds = model->model->load_seconds();
        record.expert_requests = measured.generation.requests;
        record.expert_hits = measured.generation.hits;
        record.hit_rate =
            ratio(static_cast<double>(measured.generation.hits), static_cast<double>(measured.generation.requests), 1);
        record.read_bytes = measured.prompt.read_bytes + measured.generation.read_bytes;
        record.read_bytes_per_token = ratio(static_cast<double>(measured.generation.read_bytes),
                                            static_cast<double>(measured.generation_steps), 0);
        record.prompt_read_bytes = measured.prompt.read_bytes;
        record.stall_seconds = measured.stall_seconds();
        record.row_read_bytes = model->model->row_tables() != nullptr ? model->model->row_tables()->read_bytes() : 0;
        edgemoe::PrefetchStats ahead = measured.prompt.prefetch;
        edgemoe::add(measured.generation.prefetch, &ahead);
        record.forecasts = ahead.forecasts;
        record.read_ahead_bytes = ahead.read_ahead_bytes;
        record.read_ahead_useful_bytes = ahead.useful_bytes;
        record.read_ahead_wasted_bytes = ahead.wasted_bytes;
        record.read_ahead_cancelled_bytes = ahead.cancelled_bytes;
        record.tokens_with_read_ahead = ahead.passes_ahead;
        record.tokens_without_read_ahead = ahead.passes_without;
        record.stall_seconds_with_read_ahead = ahead.stall_ahead_seconds;
        record.stall_seconds_without_read_ahead = ahead.stall_without_seconds;
        record.peak_memory_bytes = edgemoe::process_peak_bytes();
        if (const edgemoe::ExpertStore * store = model->model->store()) {
            record.resident_experts = store->resident_experts();
            record.resident_expert_bytes = store->resident_bytes();
            record.prewarmed_bytes = store->stats().prefetch.prewarmed_bytes;
        }
        return give_record(record, stats);
    });
}

void edgemoe_recall_free(edgemoe_recall * recall) {
    if (recall != nullptr) {
        std::free(recall->data);
        *recall = {};
    }
}

edgemoe_code edgemoe_forecast_recall(const edgemoe_model * model, edgemoe_recall * recall, edgemoe_error * error) {
    return guard(error, {{model, "model"}, {recall, "recall"}}, [&] {
        std::vector<edgemoe_layer_recall> rows;
        if (const edgemoe::ExpertStore * store = model->model->store()) {
            for (const edgemoe::LayerRecall & row : store->recall()) {
                rows.push_back({row.layer, row.distance, row.n_chosen, row.n_named});
            }
        }
        return give_array(rows.data(), rows.size(), &recall->data, &recall->size);
    });
}

edgemoe_code edgemoe_start_recording(edgemoe_model * model, const char * path, edgemoe_error * error) {
    return guard(error, {{model, "model"}, {path, "path"}}, [&] {
        std::lock_guard<std::mutex> turn(model->turn);
        return model->model->start_recording(path);
    });
}

edgemoe_code edgemoe_stop_recording(edgemoe_model * model, edgemoe_error * error) {
    return guard(error, {{model, "model"}}, [&] {
        std::lock_guard<std::mutex> turn(model->turn);
        return model->model->stop_recording();
    });
}

}  // extern "C"
