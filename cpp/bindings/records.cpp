// C structs that callers only read become dicts; python/edgemoe/records.py gives them types.
#include "register.h"

namespace edgemoe::bindings {

namespace py = pybind11;

py::str to_str(std::string_view text) {
    PyObject * decoded = PyUnicode_DecodeUTF8(text.data(), static_cast<Py_ssize_t>(text.size()), "replace");
    if (decoded == nullptr) {
        throw py::error_already_set();
    }
    return py::reinterpret_steal<py::str>(decoded);
}

namespace {

py::str to_str(const char * text) {
    return bindings::to_str(std::string_view(text == nullptr ? "" : text));
}

}  // namespace

py::dict to_dict(const edgemoe_model_info & info) {
    py::dict record;
    PyObject * path = PyUnicode_DecodeFSDefault(info.path == nullptr ? "" : info.path);
    if (path == nullptr) {
        throw py::error_already_set();
    }
    record["path"] = py::reinterpret_steal<py::str>(path);
    record["architecture"] = to_str(info.architecture);
    record["name"] = to_str(info.name);
    record["mode"] = to_str(info.mode);
    record["io"] = to_str(info.io);
    record["io_reason"] = to_str(info.io_reason);
    record["cpu"] = to_str(info.cpu);
    record["direct_io"] = info.direct_io;
    record["has_tokenizer"] = info.has_tokenizer;
    record["has_chat_template"] = info.has_chat_template;
    record["n_layers"] = info.n_layers;
    record["n_moe_layers"] = info.n_moe_layers;
    record["n_experts"] = info.n_experts;
    record["n_experts_used"] = info.n_experts_used;
    record["n_vocab"] = info.n_vocab;
    record["n_ctx"] = info.n_ctx;
    record["n_ctx_train"] = info.n_ctx_train;
    record["n_batch"] = info.n_batch;
    record["n_threads"] = info.n_threads;
    record["file_bytes"] = info.file_bytes;
    record["hot_bytes"] = info.hot_bytes;
    record["expert_bytes"] = info.expert_bytes;
    record["expert_cache_bytes"] = info.expert_cache_bytes;
    record["largest_expert_bytes"] = info.largest_expert_bytes;
    record["kv_cache_bytes"] = info.kv_cache_bytes;
    record["compute_buffer_bytes"] = info.compute_buffer_bytes;
    record["least_memory_bytes"] = info.least_memory_bytes;
    record["useful_memory_bytes"] = info.useful_memory_bytes;
    record["memory_bytes"] = info.memory_bytes;
    record["types"] = to_str(info.types);
    record["row_table_bytes"] = info.row_table_bytes;
    return record;
}

py::list to_list(const std::vector<edgemoe_type_use> & uses) {
    py::list records;
    for (const edgemoe_type_use & use : uses) {
        py::dict record;
        record["layer"] = use.layer;
        record["projection"] = to_str(use.projection);
        record["type"] = to_str(use.type);
        record["n_experts"] = use.n_experts;
        record["bytes"] = use.bytes;
        records.append(record);
    }
    return records;
}

py::dict to_dict(const edgemoe_stats & stats) {
    py::dict record;
    record["prompt_tokens"] = stats.prompt_tokens;
    record["generated_tokens"] = stats.generated_tokens;
    record["prompt_seconds"] = stats.prompt_seconds;
    record["generation_seconds"] = stats.generation_seconds;
    record["prompt_tokens_per_second"] = stats.prompt_tokens_per_second;
    record["generation_tokens_per_second"] = stats.generation_tokens_per_second;
    record["load_seconds"] = stats.load_seconds;
    record["expert_requests"] = stats.expert_requests;
    record["expert_hits"] = stats.expert_hits;
    record["hit_rate"] = stats.hit_rate;
    record["read_bytes"] = stats.read_bytes;
    record["read_bytes_per_token"] = stats.read_bytes_per_token;
    record["prompt_read_bytes"] = stats.prompt_read_bytes;
    record["stall_seconds"] = stats.stall_seconds;
    record["peak_memory_bytes"] = stats.peak_memory_bytes;
    record["resident_experts"] = stats.resident_experts;
    record["resident_expert_bytes"] = stats.resident_expert_bytes;
    record["row_read_bytes"] = stats.row_read_bytes;
    record["forecasts"] = stats.forecasts;
    record["read_ahead_bytes"] = stats.read_ahead_bytes;
    record["read_ahead_useful_bytes"] = stats.read_ahead_useful_bytes;
    record["read_ahead_wasted_bytes"] = stats.read_ahead_wasted_bytes;
    record["read_ahead_cancelled_bytes"] = stats.read_ahead_cancelled_bytes;
    record["prewarmed_bytes"] = stats.prewarmed_bytes;
    record["tokens_with_read_ahead"] = stats.tokens_with_read_ahead;
    record["tokens_without_read_ahead"] = stats.tokens_without_read_ahead;
    record["stall_seconds_with_read_ahead"] = stats.stall_seconds_with_read_ahead;
    record["stall_seconds_without_read_ahead"] = stats.stall_seconds_without_read_ahead;
    return record;
}

}  // namespace edgemoe::bindings
