// edgemoe_judge_predictors.
#include "c_api/call.h"
#include "engine/prediction_report.h"

using edgemoe::Result;
using edgemoe::Status;
using edgemoe::capi::give_text;
using edgemoe::capi::guard;
using edgemoe::capi::job_progress;
using edgemoe::capi::load_options;
using edgemoe::capi::take_params;

extern "C" {

void edgemoe_judge_params_init(edgemoe_judge_params * params) {
    *params = {};
    params->struct_size = sizeof(*params);
}

edgemoe_code edgemoe_judge_predictors(const char * path, const char * profile, const char * text, size_t text_size,
                                      const edgemoe_judge_params * given, edgemoe_text * report,
                                      edgemoe_error * error) {
    return guard(error, {{path, "path"}, {profile, "profile"}, {text, "text"}, {report, "report"}}, [&]() -> Status {
        edgemoe_judge_params params;
        Status status = take_params(given, edgemoe_judge_params_init, &params);
        edgemoe::PredictionOptions options;
        if (status.is_ok()) {
            status = load_options(params.load, &options.load);
        }
        if (!status.is_ok()) {
            return status;
        }
        options.n_tokens = params.n_tokens;
        options.spill_path = params.activations != nullptr ? params.activations : "";
        options.keep_spill = params.keep_activations;
        const Result<edgemoe::PredictionReport> judged =
            edgemoe::judge_predictors(path, profile, std::string(text, text_size), options,
                                      job_progress(params.progress, params.progress_user_data));
        return judged.is_ok() ? give_text(edgemoe::to_json(judged.value()), report) : judged.status();
    });
}

}  // extern "C"
