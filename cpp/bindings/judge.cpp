// edgemoe_judge_predictors and its options.
#include "job.h"
#include "params.h"
#include "register.h"

#include <pybind11/stl.h>

namespace edgemoe::bindings {

namespace py = pybind11;

namespace {

py::str judge(const std::string & path, const std::string & profile, const std::string & text,
              const JudgeParams & params, const py::object & progress) {
    const JudgeParams own = params;
    const edgemoe_load_params load = own.load.borrow();
    edgemoe_judge_params values = own.values;
    values.load = &load;
    if (own.activations) {
        values.activations = own.activations->c_str();
    }
    std::string report;
    run_job(
        [&](const client::JobProgress & tell) { report = client::judge_predictors(path, profile, text, values, tell); },
        progress);
    return to_str(report);
}

}  // namespace

void register_judge(py::module_ & module) {
    py::class_<JudgeParams>(module, "JudgeParams",
                            "Options of judge_predictors; a new object has the library's defaults.")
        .def(py::init<>())
        .def_readwrite("load", &JudgeParams::load)
        .def_readwrite("activations", &JudgeParams::activations)
        .def_property(
            "n_tokens", [](const JudgeParams & params) { return params.values.n_tokens; },
            [](JudgeParams & params, std::uint64_t value) { params.values.n_tokens = value; })
        .def_property(
            "keep_activations", [](const JudgeParams & params) { return params.values.keep_activations; },
            [](JudgeParams & params, bool value) { params.values.keep_activations = value; });
    module.def("judge_predictors", &judge, py::arg("path"), py::arg("profile"), py::arg("text"), py::arg("params"),
               py::arg("progress") = py::none());
}

}  // namespace edgemoe::bindings
