// Writing packed files, and making stock files of them.
#include "progress.h"
#include "register.h"

#include <string>

namespace edgemoe::bindings {

namespace py = pybind11;

namespace {

void repack(const std::string & path, const std::string & output, const py::object & progress) {
    run_with_progress(progress, [&](const auto & report) { client::repack(path, output, report); });
}

void unpack(const std::string & path, const std::string & output, const std::string & type, std::int32_t n_threads,
            const py::object & progress) {
    run_with_progress(progress, [&](const auto & report) { client::unpack(path, output, type, n_threads, report); });
}

}  // namespace

void register_packed(py::module_ & module) {
    module.def("repack", &repack, py::arg("path"), py::arg("output"), py::arg("progress").none(true));
    module.def("unpack", &unpack, py::arg("path"), py::arg("output"), py::arg("type"), py::arg("n_threads"),
               py::arg("progress").none(true));
}

}  // namespace edgemoe::bindings
