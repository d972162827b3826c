// edgemoe_evaluate.
#include "engine/evaluate.h"

#include "c_api/call.h"

using edgemoe::Result;
using edgemoe::Status;
using edgemoe::capi::give_record;
using edgemoe::capi::guard;
using edgemoe::capi::job_load_options;
using edgemoe::capi::job_progress;
using edgemoe::capi::take_params;

extern "C" {

void edgemoe_evaluate_params_init(edgemoe_evaluate_params * params) {
    const edgemoe::EvaluateOptions defaults;
    *params = {};
    params->struct_size = sizeof(*params);
    params->n_ctx = defaults.n_ctx;
    params->n_tokens = defaults.n_tokens;
}

void edgemoe_evaluation_init(edgemoe_evaluation * evaluation) {
    *evaluation = {};
    evaluation->struct_size = sizeof(*evaluation);
}

edgemoe_code edgemoe_evaluate(const char * path, const char * text, size_t text_size,
                              const edgemoe_evaluate_params * given, edgemoe_evaluation * evaluation,
                              edgemoe_error * error) {
    return guard(error, {{path, "path"}, {text, "text"}, {evaluation, "evaluation"}}, [&]() -> Status {
        edgemoe_evaluate_params params;
        Status status = take_params(given, edgemoe_evaluate_params_init, &params);
        edgemoe::EvaluateOptions options;
        if (status.is_ok()) {
            status = job_load_options(params.load, &options.load);
        }
        if (!status.is_ok()) {
            return status;
        }
        options.n_ctx = params.n_ctx;
        options.n_tokens = params.n_tokens;
        const Result<edgemoe::Evaluation> result =
            edgemoe::evaluate(path, params.against != nullptr ? params.against : "", std::string(text, text_size),
                              options, job_progress(params.progress, params.progress_user_data));
        if (!result.is_ok()) {
            return result.status();
        }
        const edgemoe::Evaluation & found = result.value();
        edgemoe_evaluation record = {};
        record.tokens = found.tokens;
        record.perplexity = found.perplexity;
        record.perplexity_error = found.perplexity_error;
        record.base_perplexity = found.base_perplexity;
        record.kl_divergence = found.kl_divergence;
        record.kl_divergence_error = found.kl_divergence_error;
        record.argmax_agreement = found.argmax_agreement;
        return give_record(record, evaluation);
    });
}

}  // extern "C"
