// edgemoe_pack and its options.
#include "job.h"
#include "params.h"
#include "register.h"

#include <pybind11/stl.h>

namespace edgemoe::bindings {

namespace py = pybind11;

namespace {

template <typename Value>
void bind_value(py::class_<PackParams> & bound, const char * name, Value edgemoe_pack_params::*field) {
    bound.def_property(
        name, [field](const PackParams & params) { return params.values.*field; },
        [field](PackParams & params, Value value) { params.values.*field = value; });
}

void set_objective(PackParams & params, const std::string & name) {
    if (name != "size" && name != "read-bytes") {
        throw py::value_error("objective: \"size\" and \"read-bytes\" are known, not \"" + name + "\"");
    }
    params.values.objective = name == "size" ? EDGEMOE_OBJECTIVE_SIZE : EDGEMOE_OBJECTIVE_READ_BYTES;
}

py::str pack(const std::string & path, const std::string & profile, const std::string & output,
             const PackParams & params, const py::object & progress) {
    const PackParams own = params;
    const edgemoe_load_params load = own.load.borrow();
    edgemoe_pack_params values = own.values;
    values.load = &load;
    if (own.types) {
        values.types = own.types->c_str();
    }
    if (own.as_good_as) {
        values.as_good_as = own.as_good_as->c_str();
    }
    std::string report;
    run_job([&](const client::JobProgress & tell) { report = client::pack(path, profile, output, values, tell); },
            progress);
    return to_str(report);
}

}  // namespace

void register_pack(py::module_ & module) {
    py::class_<PackParams> bound(module, "PackParams", "Options of pack; a new object has the library's defaults.");
    bound.def(py::init<>())
        .def_readwrite("load", &PackParams::load)
        .def_readwrite("types", &PackParams::types)
        .def_readwrite("as_good_as", &PackParams::as_good_as)
        .def_property(
            "objective",
            [](const PackParams & params) {
                return params.values.objective == EDGEMOE_OBJECTIVE_SIZE ? "size" : "read-bytes";
            },
            &set_objective);
    bind_value(bound, "max_kl", &edgemoe_pack_params::max_kl);
    bind_value(bound, "size_bytes", &edgemoe_pack_params::size_bytes);
    bind_value(bound, "bits", &edgemoe_pack_params::bits);
    bind_value(bound, "target_cache_bytes", &edgemoe_pack_params::target_cache_bytes);
    bind_value(bound, "prefer_speed", &edgemoe_pack_params::prefer_speed);
    bind_value(bound, "error_feedback", &edgemoe_pack_params::error_feedback);
    bind_value(bound, "measured_sensitivity", &edgemoe_pack_params::measured_sensitivity);
    bind_value(bound, "dry_run", &edgemoe_pack_params::dry_run);
    module.def("pack", &pack, py::arg("path"), py::arg("profile"), py::arg("output"), py::arg("params"),
               py::arg("progress") = py::none());
}

}  // namespace edgemoe::bindings
