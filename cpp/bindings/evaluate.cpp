// edgemoe_evaluate and its options. Setting None puts back the default.
#include "job.h"
#include "params.h"
#include "register.h"

#include <pybind11/stl.h>

namespace edgemoe::bindings {

namespace py = pybind11;

namespace {

py::dict evaluate(const std::string & path, const std::string & text, const EvaluateParams & params,
                  const py::object & progress) {
    const EvaluateParams own = params;
    const edgemoe_load_params load = own.load.borrow();
    edgemoe_evaluate_params values = own.values;
    values.load = &load;
    if (own.against) {
        values.against = own.against->c_str();
    }
    edgemoe_evaluation evaluation{};
    run_job([&](const client::JobProgress & report) { evaluation = client::evaluate(path, text, values, report); },
            progress);
    py::dict record;
    record["tokens"] = evaluation.tokens;
    record["perplexity"] = evaluation.perplexity;
    record["perplexity_error"] = evaluation.perplexity_error;
    if (own.against) {
        record["base_perplexity"] = evaluation.base_perplexity;
        record["kl_divergence"] = evaluation.kl_divergence;
        record["kl_divergence_error"] = evaluation.kl_divergence_error;
        record["argmax_agreement"] = evaluation.argmax_agreement;
    }
    return record;
}

}  // namespace

void register_evaluate(py::module_ & module) {
    py::class_<EvaluateParams> bound(module, "EvaluateParams",
                                     "Options of evaluate; a new object has the library's defaults.");
    bound.def(py::init<>())
        .def_readwrite("load", &EvaluateParams::load)
        .def_readwrite("against", &EvaluateParams::against)
        .def_property(
            "n_ctx", [](const EvaluateParams & params) { return params.values.n_ctx; },
            [](EvaluateParams & params, std::uint32_t value) { params.values.n_ctx = value; })
        .def_property(
            "n_tokens", [](const EvaluateParams & params) { return params.values.n_tokens; },
            [](EvaluateParams & params, std::uint64_t value) { params.values.n_tokens = value; });
    module.def("evaluate", &evaluate, py::arg("path"), py::arg("text"), py::arg("params"),
               py::arg("progress") = py::none());
}

}  // namespace edgemoe::bindings
