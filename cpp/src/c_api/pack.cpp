// edgemoe_pack.
#include "engine/pack.h"

#include "c_api/call.h"
#include "engine/pack_report.h"

using edgemoe::Result;
using edgemoe::Status;
using edgemoe::StatusCode;
using edgemoe::capi::give_text;
using edgemoe::capi::guard;
using edgemoe::capi::job_load_options;
using edgemoe::capi::job_progress;
using edgemoe::capi::take_params;

extern "C" {

void edgemoe_pack_params_init(edgemoe_pack_params * params) {
    const edgemoe::PackOptions defaults;
    *params = {};
    params->struct_size = sizeof(*params);
    params->objective = static_cast<edgemoe_objective>(defaults.objective);
    params->prefer_speed = defaults.prefer_speed;
    params->error_feedback = defaults.rounding == edgemoe::Rounding::kFeedback;
    params->measured_sensitivity = defaults.measured_sensitivity;
    params->dry_run = defaults.dry_run;
}

edgemoe_code edgemoe_pack(const char * path, const char * profile, const char * output,
                          const edgemoe_pack_params * given, edgemoe_text * report, edgemoe_error * error) {
    return guard(error, {{path, "path"}, {profile, "profile"}}, [&]() -> Status {
        edgemoe_pack_params params;
        Status status = take_params(given, edgemoe_pack_params_init, &params);
        edgemoe::PackOptions options;
        if (status.is_ok()) {
            status = job_load_options(params.load, &options.load);
        }
        if (!status.is_ok()) {
            return status;
        }
        options.max_kl = params.max_kl;
        options.as_good_as = params.as_good_as != nullptr ? params.as_good_as : "";
        options.target_cache_bytes = params.target_cache_bytes;
        options.size_bytes = params.size_bytes;
        options.bits = params.bits;
        options.objective = static_cast<edgemoe::PackObjective>(params.objective);
        options.prefer_speed = params.prefer_speed;
        options.rounding = params.error_feedback ? edgemoe::Rounding::kFeedback : edgemoe::Rounding::kNearest;
        options.measured_sensitivity = params.measured_sensitivity;
        options.dry_run = params.dry_run;
        if (params.types != nullptr) {
            Result<std::vector<int32_t>> ladder = edgemoe::parse_ladder(params.types);
            if (!ladder.is_ok()) {
                return ladder.status();
            }
            options.ladder = std::move(ladder).value();
        }
        if (output == nullptr && !options.dry_run) {
            return Status(StatusCode::kInvalidArgument, "output is NULL");
        }
        const Result<edgemoe::PackReport> packed =
            edgemoe::pack(path, profile, output != nullptr ? output : "", options,
                          job_progress(params.progress, params.progress_user_data));
        if (!packed.is_ok()) {
            return packed.status();
        }
        return report == nullptr ? Status::ok() : give_text(edgemoe::to_json(packed.value()), report);
    });
}

}  // extern "C"
