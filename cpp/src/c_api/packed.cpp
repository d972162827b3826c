// edgemoe_repack, edgemoe_unpack.
#include "c_api/call.h"
#include "engine/pack_unchanged.h"
#include "engine/unpack.h"

using edgemoe::Status;
using edgemoe::capi::guard;
using edgemoe::capi::job_progress;
using edgemoe::capi::take_params;

extern "C" {

edgemoe_code edgemoe_repack(const char * path, const char * output, edgemoe_job_callback progress,
                            void * progress_user_data, edgemoe_error * error) {
    return guard(error, {{path, "path"}, {output, "output"}},
                 [&] { return edgemoe::pack_unchanged(path, output, job_progress(progress, progress_user_data)); });
}

void edgemoe_unpack_params_init(edgemoe_unpack_params * params) {
    *params = {};
    params->struct_size = sizeof(*params);
}

edgemoe_code edgemoe_unpack(const char * path, const char * output, const edgemoe_unpack_params * given,
                            edgemoe_error * error) {
    return guard(error, {{path, "path"}, {output, "output"}}, [&]() -> Status {
        edgemoe_unpack_params params;
        const Status status = take_params(given, edgemoe_unpack_params_init, &params);
        if (!status.is_ok()) {
            return status;
        }
        return edgemoe::unpack(path, output, {params.type != nullptr ? params.type : "", params.n_threads},
                               job_progress(params.progress, params.progress_user_data));
    });
}

}  // extern "C"
