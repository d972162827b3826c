// edgemoe_profile_*.
#include "engine/profile.h"

#include "c_api/call.h"
#include "engine/profile_run.h"

#include <memory>

struct edgemoe_profile {
    edgemoe::Profile profile;
};

using edgemoe::Profile;
using edgemoe::Result;
using edgemoe::Status;
using edgemoe::StatusCode;
using edgemoe::capi::give_record;
using edgemoe::capi::guard;
using edgemoe::capi::job_load_options;
using edgemoe::capi::job_progress;
using edgemoe::capi::take_params;

extern "C" {

void edgemoe_profile_params_init(edgemoe_profile_params * params) {
    const edgemoe::ProfileOptions defaults;
    *params = {};
    params->struct_size = sizeof(*params);
    params->n_ctx = defaults.n_ctx;
    params->n_tokens = defaults.n_tokens;
    params->keep_activations = defaults.keep_spill;
    params->sensitivity = defaults.sensitivity;
    params->maps = defaults.maps;
}

edgemoe_code edgemoe_profile_run(const char * path, const char * text, size_t text_size, const char * output,
                                 const edgemoe_profile_params * given, edgemoe_profile ** profile,
                                 edgemoe_error * error) {
    return guard(error, {{path, "path"}, {text, "text"}, {output, "output"}}, [&]() -> Status {
        edgemoe_profile_params params;
        Status status = take_params(given, edgemoe_profile_params_init, &params);
        edgemoe::ProfileOptions options;
        if (status.is_ok()) {
            status = job_load_options(params.load, &options.load);
        }
        if (!status.is_ok()) {
            return status;
        }
        options.n_ctx = params.n_ctx;
        options.n_tokens = params.n_tokens;
        options.spill_path = params.activations != nullptr ? params.activations : "";
        options.keep_spill = params.keep_activations;
        options.sensitivity = params.sensitivity;
        options.maps = params.maps;
        Result<Profile> result = edgemoe::run_profile(path, std::string(text, text_size), output, options,
                                                      job_progress(params.progress, params.progress_user_data));
        if (result.is_ok() && profile != nullptr) {
            *profile = std::make_unique<edgemoe_profile>(edgemoe_profile{std::move(result).value()}).release();
        }
        return result.status();
    });
}

edgemoe_code edgemoe_profile_open(const char * path, edgemoe_profile ** profile, edgemoe_error * error) {
    return guard(error, {{path, "path"}, {profile, "profile"}}, [&]() -> Status {
        Result<Profile> result = Profile::load(path);
        if (result.is_ok()) {
            *profile = std::make_unique<edgemoe_profile>(edgemoe_profile{std::move(result).value()}).release();
        }
        return result.status();
    });
}

void edgemoe_profile_free(edgemoe_profile * profile) {
    delete profile;
}

void edgemoe_profile_info_init(edgemoe_profile_info * info) {
    *info = {};
    info->struct_size = sizeof(*info);
}

edgemoe_code edgemoe_profile_info_get(const edgemoe_profile * handle, edgemoe_profile_info * info,
                                      edgemoe_error * error) {
    return guard(error, {{handle, "profile"}, {info, "info"}}, [&] {
        const Profile & profile = handle->profile;
        edgemoe_profile_info record = {};
        record.architecture = profile.model.architecture.c_str();
        record.name = profile.model.name.c_str();
        record.n_tokens = profile.tokens.size();
        record.n_ctx = profile.n_ctx;
        record.n_layers = static_cast<int32_t>(profile.layers.size());
        record.n_experts = profile.model.n_experts;
        record.n_experts_used = profile.model.n_experts_used;
        record.few_tokens = edgemoe::kFewTokens;
        record.n_hardly_reached = profile.hardly_reached().size();
        record.has_sensitivity = profile.sensitivity.has_value();
        record.map_bytes = profile.maps.bytes();
        return give_record(record, info);
    });
}

void edgemoe_layer_profile_init(edgemoe_layer_profile * layer) {
    *layer = {};
    layer->struct_size = sizeof(*layer);
}

edgemoe_code edgemoe_profile_layer_get(const edgemoe_profile * handle, size_t index, edgemoe_layer_profile * out,
                                       edgemoe_error * error) {
    return guard(error, {{handle, "profile"}, {out, "layer"}}, [&]() -> Status {
        if (index >= handle->profile.layers.size()) {
            return Status(StatusCode::kInvalidArgument, "the profile has " +
                                                            std::to_string(handle->profile.layers.size()) +
                                                            " layers, none with the index " + std::to_string(index));
        }
        const edgemoe::LayerProfile & layer = handle->profile.layers[index];
        edgemoe_layer_profile record = {};
        record.layer = layer.routing.layer;
        record.n_experts = layer.routing.n_experts;
        record.n_experts_used = layer.routing.n_used;
        record.evaluated = layer.evaluated;
        record.n_tokens = layer.routing.n_tokens();
        record.counts = layer.counts.data();
        record.mass = layer.mass.data();
        record.ids = layer.routing.ids.data();
        record.weights = layer.routing.weights.data();
        const auto moments = [](const edgemoe::DiagonalMoments & from) {
            return from.columns > 0 ? from.sums.data() : nullptr;
        };
        record.input_columns = static_cast<int32_t>(layer.input.columns);
        record.input_moments = moments(layer.input);
        record.down_columns = static_cast<int32_t>(layer.down.columns);
        record.down_moments = moments(layer.down);
        return give_record(record, out);
    });
}

}  // extern "C"
