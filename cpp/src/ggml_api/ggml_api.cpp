// Every function: guard -> engine call -> code and message, nothing else.
#include "edgemoe/edgemoe-ggml.h"

#include "c_api/call.h"
#include "engine/expert_streams.h"

#include <memory>
#include <utility>

struct edgemoe_ggml {
    std::unique_ptr<edgemoe::ExpertStreams> streams;
};

using edgemoe::Status;
using edgemoe::capi::give_record;
using edgemoe::capi::guard;
using edgemoe::capi::take_params;

extern "C" {

void edgemoe_ggml_params_init(edgemoe_ggml_params * params) {
    *params = {};
    params->struct_size = sizeof(*params);
    params->direct_io = EDGEMOE_AUTO;
}

edgemoe_code edgemoe_ggml_open(const char * path, const edgemoe_ggml_params * given, edgemoe_ggml ** streams,
                               edgemoe_error * error) {
    return guard(error, {{path, "path"}, {streams, "streams"}}, [&]() -> Status {
        edgemoe_ggml_params params;
        const Status status = take_params(given, edgemoe_ggml_params_init, &params);
        if (!status.is_ok()) {
            return status;
        }
        edgemoe::LoadOptions options;
        options.expert_cache_bytes = params.expert_cache_bytes;
        options.direct_io = static_cast<edgemoe::Toggle>(params.direct_io);
        options.io = params.io != nullptr ? params.io : options.io;
        options.eviction = params.eviction != nullptr ? params.eviction : options.eviction;
        auto opened = edgemoe::ExpertStreams::open(path, options, params.threadpool);
        if (opened.is_ok()) {
            *streams = new edgemoe_ggml{std::move(opened).value()};
        }
        return opened.status();
    });
}

void edgemoe_ggml_free(edgemoe_ggml * streams) {
    delete streams;
}

FILE * edgemoe_ggml_file(edgemoe_ggml * streams) {
    return streams->streams->file();
}

const char * edgemoe_ggml_pattern(void) {
    return edgemoe::kExpertTensorPattern;
}

ggml_backend_buffer_type_t edgemoe_ggml_buffer_type(edgemoe_ggml * streams) {
    return streams->streams->buffer_type();
}

edgemoe_code edgemoe_ggml_take_failure(edgemoe_ggml * streams, edgemoe_error * error) {
    return guard(error, {{streams, "streams"}}, [&] { return streams->streams->take_failure(); });
}

void edgemoe_ggml_stats_init(edgemoe_ggml_stats * stats) {
    *stats = {};
    stats->struct_size = sizeof(*stats);
}

edgemoe_code edgemoe_ggml_stats_get(const edgemoe_ggml * streams, edgemoe_ggml_stats * stats, edgemoe_error * error) {
    return guard(error, {{streams, "streams"}, {stats, "stats"}}, [&] {
        edgemoe_ggml_stats record = {};
        if (const edgemoe::ExpertStore * store = streams->streams->store()) {
            const edgemoe::StreamStats measured = store->stats();
            record.expert_requests = measured.requests;
            record.expert_hits = measured.hits;
            record.read_bytes = measured.read_bytes;
            record.stall_seconds = measured.stall_seconds;
            record.expert_cache_bytes = store->cache_bytes();
            record.resident_expert_bytes = store->resident_bytes();
        }
        return give_record(record, stats);
    });
}

}  // extern "C"
