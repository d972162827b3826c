// edgemoe_load_params. Setting None puts back the default.
#include "params.h"
#include "register.h"

#include <pybind11/stl.h>

namespace edgemoe::bindings {

namespace py = pybind11;

namespace {

using Class = py::class_<LoadParams>;

template <typename T>
void number(Class & bound, const char * name, T edgemoe_load_params::*field) {
    bound.def_property(
        name, [field](const LoadParams & params) { return params.values.*field; },
        [field](LoadParams & params, T value) { params.values.*field = value; });
}

void toggle(Class & bound, const char * name, edgemoe_toggle edgemoe_load_params::*field) {
    bound.def_property(
        name,
        [field](const LoadParams & params) -> std::optional<bool> {
            const edgemoe_toggle value = params.values.*field;
            return value == EDGEMOE_AUTO ? std::nullopt : std::optional<bool>(value == EDGEMOE_ON);
        },
        [field](LoadParams & params, std::optional<bool> value) {
            params.values.*field = !value ? EDGEMOE_AUTO : *value ? EDGEMOE_ON : EDGEMOE_OFF;
        });
}

edgemoe_streaming parse_streaming(const std::string & text) {
    if (text == "auto") {
        return EDGEMOE_STREAMING_AUTO;
    }
    if (text == "off") {
        return EDGEMOE_STREAMING_OFF;
    }
    throw py::value_error("streaming is \"auto\" or \"off\", not \"" + text + "\"");
}

edgemoe_prefetch parse_prefetch(const std::string & text) {
    if (text == "auto") {
        return EDGEMOE_PREFETCH_AUTO;
    }
    if (text == "off") {
        return EDGEMOE_PREFETCH_OFF;
    }
    if (text == "always") {
        return EDGEMOE_PREFETCH_ALWAYS;
    }
    throw py::value_error("prefetch is \"auto\", \"off\" or \"always\", not \"" + text + "\"");
}

const char * prefetch_name(edgemoe_prefetch prefetch) {
    return prefetch == EDGEMOE_PREFETCH_OFF ? "off" : prefetch == EDGEMOE_PREFETCH_ALWAYS ? "always" : "auto";
}

}  // namespace

void register_load_params(py::module_ & module) {
    Class bound(module, "LoadParams", "Options of Model and inspect; a new object has the library's defaults.");
    bound.def(py::init<>());
    number(bound, "memory_bytes", &edgemoe_load_params::memory_bytes);
    number(bound, "expert_cache_bytes", &edgemoe_load_params::expert_cache_bytes);
    // Not given is the library's default; 0 is the largest.
    bound.def_property(
        "n_ctx", [](const LoadParams & params) { return params.values.n_ctx; },
        [](LoadParams & params, uint32_t n_tokens) {
            params.values.n_ctx = n_tokens == 0 ? EDGEMOE_CTX_LARGEST : n_tokens;
        });
    number(bound, "n_batch", &edgemoe_load_params::n_batch);
    number(bound, "n_ubatch", &edgemoe_load_params::n_ubatch);
    number(bound, "n_sequences", &edgemoe_load_params::n_sequences);
    number(bound, "n_threads", &edgemoe_load_params::n_threads);
    bound.def_property(
        "mlock", [](const LoadParams & params) { return params.values.mlock; },
        [](LoadParams & params, bool lock) { params.values.mlock = lock; });
    toggle(bound, "row_tables", &edgemoe_load_params::row_tables);
    toggle(bound, "direct_io", &edgemoe_load_params::direct_io);
    toggle(bound, "prewarm", &edgemoe_load_params::prewarm);
    bound.def_property(
        "prefetch", [](const LoadParams & params) { return prefetch_name(params.values.prefetch); },
        [](LoadParams & params, const std::string & text) { params.values.prefetch = parse_prefetch(text); });
    toggle(bound, "flash_attention", &edgemoe_load_params::flash_attention);
    bound.def_readwrite("cache_type_k", &LoadParams::cache_type_k);
    bound.def_readwrite("cache_type_v", &LoadParams::cache_type_v);
    bound.def_readwrite("io", &LoadParams::io);
    bound.def_readwrite("eviction", &LoadParams::eviction);
    bound.def_readwrite("profile", &LoadParams::profile);
    bound.def_property(
        "streaming",
        [](const LoadParams & params) { return params.values.streaming == EDGEMOE_STREAMING_OFF ? "off" : "auto"; },
        [](LoadParams & params, const std::string & text) { params.values.streaming = parse_streaming(text); });
}

}  // namespace edgemoe::bindings
