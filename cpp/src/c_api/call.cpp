#include "c_api/call.h"

#include "engine/utf8.h"

#include "ggml.h"

namespace edgemoe::capi {

namespace {

edgemoe_code code_of(StatusCode code) {
    switch (code) {
        case StatusCode::kOk:
            return EDGEMOE_OK;
        case StatusCode::kInvalidArgument:
            return EDGEMOE_INVALID_ARGUMENT;
        case StatusCode::kNotFound:
            return EDGEMOE_NOT_FOUND;
        case StatusCode::kFormat:
            return EDGEMOE_FORMAT;
        case StatusCode::kIo:
            return EDGEMOE_IO;
        case StatusCode::kOutOfBudget:
            return EDGEMOE_OUT_OF_BUDGET;
        case StatusCode::kCancelled:
            return EDGEMOE_CANCELLED;
        case StatusCode::kUnsupported:
            return EDGEMOE_UNSUPPORTED;
        case StatusCode::kInternal:
            return EDGEMOE_INTERNAL;
    }
    return EDGEMOE_INTERNAL;
}

Status parse_cache_type(const char * name, ggml_type * type) {
    if (name == nullptr) {
        return Status::ok();
    }
    for (int i = 0; i < GGML_TYPE_COUNT; i++) {
        const char * known = ggml_type_name(static_cast<ggml_type>(i));
        if (known != nullptr && *known != '\0' && std::strcmp(known, name) == 0) {
            *type = static_cast<ggml_type>(i);
            return Status::ok();
        }
    }
    return Status(StatusCode::kInvalidArgument,
                  std::string("no ggml type is called \"") + name + "\"; try f16, q8_0 or q4_0");
}

}  // namespace

edgemoe_code report(const Status & status, edgemoe_error * error) {
    const edgemoe_code code = code_of(status.code());
    if (error != nullptr) {
        error->code = code;
        std::string bytes = status.message();
        std::string message = take_complete_utf8(&bytes, true);
        if (message.size() >= sizeof(error->message)) {
            // Cut at a character: an incomplete one at the end is left out.
            std::string head = message.substr(0, sizeof(error->message) - 1);
            message = take_complete_utf8(&head, false);
        }
        std::memcpy(error->message, message.c_str(), message.size() + 1);
    }
    return code;
}

Status need(std::initializer_list<Argument> arguments) {
    for (const Argument & argument : arguments) {
        if (argument.value == nullptr) {
            return Status(StatusCode::kInvalidArgument, std::string(argument.name) + " is NULL");
        }
    }
    return Status::ok();
}

Status load_options(const edgemoe_load_params * given, LoadOptions * options) {
    edgemoe_load_params params;
    Status status = take_params(given, edgemoe_load_params_init, &params);
    if (!status.is_ok()) {
        return status;
    }
    options->memory_bytes = params.memory_bytes;
    options->expert_cache_bytes = params.expert_cache_bytes;
    options->n_ctx = params.n_ctx;
    options->n_batch = params.n_batch;
    options->n_ubatch = params.n_ubatch != 0 ? params.n_ubatch : options->n_ubatch;
    options->n_sequences = params.n_sequences != 0 ? params.n_sequences : 1;
    options->n_threads = params.n_threads;
    options->streaming = params.streaming != EDGEMOE_STREAMING_OFF;
    options->lock_memory = params.mlock;
    options->row_tables = static_cast<Toggle>(params.row_tables);
    options->direct_io = static_cast<Toggle>(params.direct_io);
    options->flash_attention = static_cast<Toggle>(params.flash_attention);
    switch (params.prefetch) {
        case EDGEMOE_PREFETCH_AUTO:
            options->prefetch = Prefetch::kAuto;
            break;
        case EDGEMOE_PREFETCH_OFF:
            options->prefetch = Prefetch::kOff;
            break;
        case EDGEMOE_PREFETCH_ALWAYS:
            options->prefetch = Prefetch::kAlways;
            break;
    }
    options->prewarm = static_cast<Toggle>(params.prewarm);
    options->io = params.io != nullptr ? params.io : options->io;
    options->eviction = params.eviction != nullptr ? params.eviction : options->eviction;
    options->profile = params.profile != nullptr ? params.profile : "";
    if (params.progress != nullptr) {
        options->progress = [callback = params.progress, user_data = params.progress_user_data](float fraction) {
            return callback(fraction, user_data);
        };
    }
    if (params.n_threads < 0 || params.n_threads > 512) {
        return Status(StatusCode::kInvalidArgument, "n_threads must be between 1 and 512, or 0 for all cores");
    }
    if (options->n_sequences > 256) {
        return Status(StatusCode::kInvalidArgument, "n_sequences must be at most 256");
    }
    status = parse_cache_type(params.cache_type_k, &options->cache_type_k);
    return status.is_ok() ? parse_cache_type(params.cache_type_v, &options->cache_type_v) : status;
}

Status job_load_options(const edgemoe_load_params * given, LoadOptions * options) {
    const Status status = load_options(given, options);
    options->prefetch = Prefetch::kOff;
    options->prewarm = Toggle::kOff;
    return status;
}

JobProgress job_progress(edgemoe_job_callback callback, void * user_data) {
    if (callback == nullptr) {
        return {};
    }
    return [callback, user_data](const char * step, double fraction, double seconds_left) {
        return callback(step, fraction, seconds_left, user_data);
    };
}

}  // namespace edgemoe::capi
