// edgemoe_generate_params. A field that is never set keeps the library's default: for sampling, the model's own.
#include "params.h"
#include "register.h"

#include <pybind11/stl.h>

namespace edgemoe::bindings {

namespace py = pybind11;

namespace {

template <typename T>
void field(py::class_<GenerateParams> & bound, const char * name, T edgemoe_generate_params::*member) {
    bound.def_property(
        name, [member](const GenerateParams & params) { return params.values.*member; },
        [member](GenerateParams & params, T value) { params.values.*member = value; });
}

void set_stop(GenerateParams & params, std::vector<std::string> texts) {
    for (const std::string & text : texts) {
        if (text.empty() || text.find('\0') != std::string::npos) {
            throw py::value_error("stop: a text is empty or contains a zero byte");
        }
    }
    params.stop = std::move(texts);
}

}  // namespace

void register_generate_params(py::module_ & module) {
    py::class_<GenerateParams> bound(module, "GenerateParams",
                                     "Options of Generation; a new object has the library's defaults.");
    bound.def(py::init<>());
    field(bound, "max_tokens", &edgemoe_generate_params::max_tokens);
    field(bound, "temperature", &edgemoe_generate_params::temperature);
    field(bound, "top_k", &edgemoe_generate_params::top_k);
    field(bound, "top_p", &edgemoe_generate_params::top_p);
    field(bound, "min_p", &edgemoe_generate_params::min_p);
    field(bound, "repeat_penalty", &edgemoe_generate_params::repeat_penalty);
    field(bound, "repeat_last_n", &edgemoe_generate_params::repeat_last_n);
    field(bound, "seed", &edgemoe_generate_params::seed);
    field(bound, "ignore_eos", &edgemoe_generate_params::ignore_eos);
    field(bound, "add_special", &edgemoe_generate_params::add_special);
    field(bound, "parse_special", &edgemoe_generate_params::parse_special);
    field(bound, "context_shift", &edgemoe_generate_params::context_shift);
    bound.def_property(
        "stop", [](const GenerateParams & params) { return params.stop; }, set_stop);
}

}  // namespace edgemoe::bindings
