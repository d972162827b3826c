// plan and replay: what loading would give, and what policies would have read.
#include "interruptible.h"
#include "params.h"
#include "register.h"

#include <pybind11/stl.h>

#include <optional>
#include <string>
#include <vector>

namespace edgemoe::bindings {

namespace py = pybind11;

namespace {

py::dict to_dict(const edgemoe_forecast & forecast) {
    py::dict record;
    record["mode"] = to_str(forecast.mode);
    record["io"] = to_str(forecast.io);
    record["memory_bytes"] = forecast.memory_bytes;
    record["process_bytes"] = forecast.process_bytes;
    record["hot_bytes"] = forecast.hot_bytes;
    record["kv_cache_bytes"] = forecast.kv_cache_bytes;
    record["compute_bytes"] = forecast.compute_bytes;
    record["io_bytes"] = forecast.io_bytes;
    record["map_bytes"] = forecast.map_bytes;
    record["reserve_bytes"] = forecast.reserve_bytes;
    record["expert_cache_bytes"] = forecast.expert_cache_bytes;
    record["expert_bytes"] = forecast.expert_bytes;
    record["least_memory_bytes"] = forecast.least_memory_bytes;
    record["useful_memory_bytes"] = forecast.useful_memory_bytes;
    record["resident_memory_bytes"] = forecast.resident_memory_bytes;
    record["n_ctx"] = forecast.n_ctx;
    record["n_experts"] = forecast.n_experts;
    record["n_experts_cached"] = forecast.n_experts_cached;
    record["token_expert_bytes"] = forecast.token_expert_bytes;
    record["missed_bytes_uniform"] = forecast.missed_bytes_uniform;
    record["missed_bytes_typical"] = forecast.missed_bytes_typical;
    record["read_bytes"] = forecast.read_bytes;
    record["disk_bytes_per_second"] = forecast.disk_bytes_per_second;
    record["compute_seconds"] = forecast.compute_seconds;
    record["tokens_per_second_slow"] = forecast.tokens_per_second_slow;
    record["tokens_per_second_fast"] = forecast.tokens_per_second_fast;
    return record;
}

py::dict to_dict(const edgemoe_replay_row & row) {
    py::dict record;
    record["policy"] = to_str(row.policy);
    record["cache_bytes"] = row.cache_bytes;
    record["cache_share"] = row.cache_share;
    record["requests"] = row.requests;
    record["hits"] = row.hits;
    record["hit_rate"] = row.hit_rate;
    record["missed_bytes_per_token"] = row.missed_bytes_per_token;
    record["ratio_to_lru"] = row.ratio_to_lru;
    record["ratio_to_belady"] = row.ratio_to_belady;
    return record;
}

py::dict plan(const std::string & path, const LoadParams & params, std::optional<double> probe_seconds) {
    const LoadParams own = params;
    edgemoe_plan_params plan_params = client::default_plan_params();
    plan_params.probe_seconds = probe_seconds.value_or(plan_params.probe_seconds);
    edgemoe_forecast forecast{};
    {
        const py::gil_scoped_release released;
        forecast = client::plan(path, own.borrow(), plan_params);
    }
    return to_dict(forecast);
}

py::dict replay(const std::string & path, const std::optional<std::string> & model, std::uint64_t expert_bytes,
                const std::vector<std::string> & policies, const std::vector<double> & cache_shares,
                const std::vector<std::uint64_t> & cache_bytes) {
    std::vector<const char *> names;
    for (const std::string & policy : policies) {
        names.push_back(policy.c_str());
    }
    edgemoe_replay_params params = client::default_replay_params();
    params.model = model ? model->c_str() : nullptr;
    params.expert_bytes = expert_bytes;
    params.policies = names.data();
    params.n_policies = names.size();
    params.cache_shares = cache_shares.data();
    params.n_cache_shares = cache_shares.size();
    params.cache_bytes = cache_bytes.data();
    params.n_cache_bytes = cache_bytes.size();
    std::optional<client::Replay> replayed;
    CallThread().run([&] { replayed.emplace(path, params); }, [] {});
    const edgemoe_replay_info info = replayed->info();
    py::list rows;
    for (std::size_t i = 0; i < info.n_rows; ++i) {
        rows.append(to_dict(replayed->row(i)));
    }
    py::dict record;
    record["model"] = to_str(info.model);
    record["n_layers"] = info.n_layers;
    record["n_experts"] = info.n_experts;
    record["prompt_steps"] = info.prompt_steps;
    record["tokens"] = info.tokens;
    record["expert_bytes"] = info.expert_bytes;
    record["rows"] = rows;
    return record;
}

}  // namespace

void register_planning(py::module_ & module) {
    module.def("plan", &plan, py::arg("path"), py::arg("params"), py::arg("probe_seconds").none(true));
    module.def("replay", &replay, py::arg("path"), py::arg("model").none(true), py::arg("expert_bytes"),
               py::arg("policies"), py::arg("cache_shares"), py::arg("cache_bytes"));
}

}  // namespace edgemoe::bindings
