// edgemoe_plan, edgemoe_replay_open and what belongs to them.
#include "c_api/call.h"
#include "engine/plan.h"
#include "engine/trace_replay.h"

#include <memory>
#include <string>
#include <vector>

using edgemoe::Result;
using edgemoe::Status;
using edgemoe::StatusCode;
using edgemoe::capi::give_record;
using edgemoe::capi::guard;
using edgemoe::capi::load_options;
using edgemoe::capi::take_params;

struct edgemoe_replay {
    std::string model;
    edgemoe_replay_info info = {};
    std::vector<edgemoe::ComparisonRow> rows;
};

extern "C" {

void edgemoe_plan_params_init(edgemoe_plan_params * params) {
    *params = {};
    params->struct_size = sizeof(*params);
    params->probe_seconds = edgemoe::PlanOptions().probe_seconds;
}

void edgemoe_forecast_init(edgemoe_forecast * forecast) {
    *forecast = {};
    forecast->struct_size = sizeof(*forecast);
}

edgemoe_code edgemoe_plan(const char * path, const edgemoe_load_params * params,
                          const edgemoe_plan_params * plan_params, edgemoe_forecast * forecast, edgemoe_error * error) {
    return guard(error, {{path, "path"}, {forecast, "forecast"}}, [&]() -> Status {
        edgemoe::LoadOptions options;
        edgemoe_plan_params given;
        Status status = load_options(params, &options);
        status = status.is_ok() ? take_params(plan_params, edgemoe_plan_params_init, &given) : status;
        if (!status.is_ok()) {
            return status;
        }
        const Result<edgemoe::Plan> found = edgemoe::make_plan(path, options, {given.probe_seconds});
        if (!found.is_ok()) {
            return found.status();
        }
        const edgemoe::Plan & plan = found.value();
        edgemoe_forecast record = {};
        record.mode = plan.mode;
        record.io = plan.io;
        record.memory_bytes = plan.ceiling_bytes;
        record.process_bytes = plan.memory.process_bytes;
        record.hot_bytes = plan.memory.hot_bytes;
        record.kv_cache_bytes = plan.memory.kv_cache_bytes;
        record.compute_bytes = plan.memory.compute_bytes;
        record.io_bytes = plan.memory.io_bytes;
        record.map_bytes = plan.memory.map_bytes;
        record.reserve_bytes = plan.memory.reserve_bytes;
        record.expert_cache_bytes = plan.cache_bytes;
        record.expert_bytes = plan.memory.expert_bytes;
        record.least_memory_bytes = plan.memory.least_bytes();
        record.useful_memory_bytes = plan.memory.useful_bytes();
        record.resident_memory_bytes = plan.memory.fixed_bytes() + plan.memory.expert_bytes;
        record.n_ctx = plan.memory.n_ctx;
        record.n_experts = plan.n_experts;
        record.n_experts_cached = plan.n_experts_cached;
        record.token_expert_bytes = plan.token_expert_bytes;
        record.missed_bytes_uniform = plan.missed_bytes_uniform;
        record.missed_bytes_typical = plan.missed_bytes_typical;
        record.read_bytes = plan.read_bytes;
        record.disk_bytes_per_second = plan.disk_bytes_per_second;
        record.compute_seconds = plan.compute_seconds;
        record.tokens_per_second_slow = plan.tokens_per_second_slow;
        record.tokens_per_second_fast = plan.tokens_per_second_fast;
        return give_record(record, forecast);
    });
}

void edgemoe_replay_params_init(edgemoe_replay_params * params) {
    *params = {};
    params->struct_size = sizeof(*params);
}

void edgemoe_replay_info_init(edgemoe_replay_info * info) {
    *info = {};
    info->struct_size = sizeof(*info);
}

void edgemoe_replay_row_init(edgemoe_replay_row * row) {
    *row = {};
    row->struct_size = sizeof(*row);
}

edgemoe_code edgemoe_replay_open(const char * path, const edgemoe_replay_params * params, edgemoe_replay ** replay,
                                 edgemoe_error * error) {
    return guard(error, {{path, "path"}, {replay, "replay"}}, [&]() -> Status {
        edgemoe_replay_params given;
        const Status status = take_params(params, edgemoe_replay_params_init, &given);
        if (!status.is_ok()) {
            return status;
        }
        edgemoe::ReplayOptions options;
        options.model = given.model != nullptr ? given.model : "";
        options.expert_bytes = given.expert_bytes != 0 ? given.expert_bytes : options.expert_bytes;
        options.comparison.policies.assign(given.policies, given.policies + given.n_policies);
        options.comparison.shares.assign(given.cache_shares, given.cache_shares + given.n_cache_shares);
        options.comparison.cache_bytes.assign(given.cache_bytes, given.cache_bytes + given.n_cache_bytes);
        Result<edgemoe::TraceReplay> found = edgemoe::replay_trace(path, options);
        if (!found.is_ok()) {
            return found.status();
        }
        auto owner = std::make_unique<edgemoe_replay>();
        const edgemoe::RoutingTrace & trace = found.value().trace;
        owner->model = trace.model;
        owner->rows = std::move(found.value().rows);
        owner->info.model = owner->model.c_str();
        owner->info.n_layers = trace.shape.n_layers;
        owner->info.n_experts = trace.shape.n_experts;
        owner->info.tokens = trace.n_decode_steps();
        owner->info.prompt_steps = trace.steps.size() - trace.n_decode_steps();
        owner->info.expert_bytes = trace.sizes.total();
        owner->info.n_rows = owner->rows.size();
        *replay = owner.release();
        return Status::ok();
    });
}

edgemoe_code edgemoe_replay_describe(const edgemoe_replay * replay, edgemoe_replay_info * info, edgemoe_error * error) {
    return guard(error, {{replay, "replay"}, {info, "info"}}, [&] { return give_record(replay->info, info); });
}

edgemoe_code edgemoe_replay_get(const edgemoe_replay * replay, size_t i, edgemoe_replay_row * row,
                                edgemoe_error * error) {
    return guard(error, {{replay, "replay"}, {row, "row"}}, [&]() -> Status {
        if (i >= replay->rows.size()) {
            return Status(StatusCode::kInvalidArgument, "row " + std::to_string(i) + " of " +
                                                            std::to_string(replay->rows.size()) + " does not exist");
        }
        const edgemoe::ComparisonRow & found = replay->rows[i];
        edgemoe_replay_row record = {};
        record.policy = found.policy.c_str();
        record.cache_bytes = found.cache_bytes;
        record.cache_share = found.cache_share;
        record.requests = found.requests;
        record.hits = found.hits;
        record.hit_rate = found.hit_rate;
        record.missed_bytes_per_token = found.missed_bytes_per_token;
        record.ratio_to_lru = found.ratio_to_lru;
        record.ratio_to_belady = found.ratio_to_bound;
        return give_record(record, row);
    });
}

void edgemoe_replay_free(edgemoe_replay * replay) {
    delete replay;
}

}  // extern "C"
