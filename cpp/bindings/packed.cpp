// Writing packed files, and making stock files of them.
#include "job.h"
#include "register.h"

#include <pybind11/stl.h>

#include <optional>
#include <string>

namespace edgemoe::bindings {

namespace py = pybind11;

namespace {

void repack(const std::string & path, const std::string & output, const py::object & progress) {
    run_job([&](const client::JobProgress & report) { client::repack(path, output, report); }, progress);
}

void unpack(const std::string & path, const std::string & output, const std::optional<std::string> & type,
            std::int32_t n_threads, const py::object & progress) {
    edgemoe_unpack_params params = client::default_unpack_params();
    params.type = type ? type->c_str() : nullptr;
    params.n_threads = n_threads;
    run_job([&](const client::JobProgress & report) { client::unpack(path, output, params, report); }, progress);
}

}  // namespace

void register_packed(py::module_ & module) {
    module.def("repack", &repack, py::arg("path"), py::arg("output"), py::arg("progress") = py::none());
    module.def("unpack", &unpack, py::arg("path"), py::arg("output"), py::arg("type").none(true), py::arg("n_threads"),
               py::arg("progress") = py::none());
}

}  // namespace edgemoe::bindings
