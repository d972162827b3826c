// A profile of a model's experts, and the job that makes one. Setting an option to None puts back the default.
#include "job.h"
#include "params.h"
#include "register.h"

#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <memory>
#include <vector>

namespace edgemoe::bindings {

namespace py = pybind11;

namespace {

std::unique_ptr<client::Profile> open(const std::string & path) {
    const py::gil_scoped_release released;
    return std::make_unique<client::Profile>(path);
}

std::unique_ptr<client::Profile> run(const std::string & path, const std::string & text, const std::string & output,
                                     const ProfileParams & params, const py::object & progress) {
    const ProfileParams own = params;
    const edgemoe_load_params load = own.load.borrow();
    edgemoe_profile_params values = own.values;
    values.load = &load;
    if (own.activations) {
        values.activations = own.activations->c_str();
    }
    std::unique_ptr<client::Profile> profile;
    run_job(
        [&](const client::JobProgress & report) {
            profile = std::make_unique<client::Profile>(client::Profile::run(path, text, output, values, report));
        },
        progress);
    return profile;
}

py::dict info(const client::Profile & profile) {
    const edgemoe_profile_info values = profile.info();
    py::dict record;
    record["architecture"] = to_str(values.architecture);
    record["name"] = to_str(values.name);
    record["n_tokens"] = values.n_tokens;
    record["n_ctx"] = values.n_ctx;
    record["n_layers"] = values.n_layers;
    record["n_experts"] = values.n_experts;
    record["n_experts_used"] = values.n_experts_used;
    record["few_tokens"] = values.few_tokens;
    record["n_hardly_reached"] = values.n_hardly_reached;
    record["has_sensitivity"] = values.has_sensitivity;
    record["map_bytes"] = values.map_bytes;
    return record;
}

// A read-only view that keeps the profile alive.
template <typename T>
py::object view(const T * data, const std::vector<py::ssize_t> & shape, const py::object & owner) {
    if (data == nullptr) {
        return py::none();
    }
    py::array_t<T> array(shape, data, owner);
    array.attr("setflags")(py::arg("write") = false);
    return std::move(array);
}

py::dict layer(const py::object & self, std::size_t index) {
    const edgemoe_layer_profile values = self.cast<const client::Profile &>().layer(index);
    const auto n_experts = static_cast<py::ssize_t>(values.n_experts);
    const auto n_tokens = static_cast<py::ssize_t>(values.n_tokens);
    const auto n_used = static_cast<py::ssize_t>(values.n_experts_used);
    py::dict record;
    record["layer"] = values.layer;
    record["evaluated"] = values.evaluated;
    record["counts"] = view(values.counts, {n_experts}, self);
    record["mass"] = view(values.mass, {n_experts}, self);
    record["ids"] = view(values.ids, {n_tokens, n_used}, self);
    record["weights"] = view(values.weights, {n_tokens, n_used}, self);
    record["input_moments"] = view(values.input_moments, {n_experts, values.input_columns}, self);
    record["down_moments"] = view(values.down_moments, {n_experts, values.down_columns}, self);
    return record;
}

}  // namespace

void register_profile(py::module_ & module) {
    py::class_<ProfileParams>(module, "ProfileParams",
                              "Options of Profile.run; a new object has the library's defaults.")
        .def(py::init<>())
        .def_readwrite("load", &ProfileParams::load)
        .def_readwrite("activations", &ProfileParams::activations)
        .def_property(
            "n_ctx", [](const ProfileParams & params) { return params.values.n_ctx; },
            [](ProfileParams & params, std::uint32_t value) { params.values.n_ctx = value; })
        .def_property(
            "n_tokens", [](const ProfileParams & params) { return params.values.n_tokens; },
            [](ProfileParams & params, std::uint64_t value) { params.values.n_tokens = value; })
        .def_property(
            "keep_activations", [](const ProfileParams & params) { return params.values.keep_activations; },
            [](ProfileParams & params, bool value) { params.values.keep_activations = value; })
        .def_property(
            "sensitivity", [](const ProfileParams & params) { return params.values.sensitivity; },
            [](ProfileParams & params, bool value) { params.values.sensitivity = value; })
        .def_property(
            "maps", [](const ProfileParams & params) { return params.values.maps; },
            [](ProfileParams & params, bool value) { params.values.maps = value; });
    py::class_<client::Profile>(module, "Profile", "A profile; edgemoe.Profile is what to use.")
        .def(py::init(&open), py::arg("path"))
        .def_static("run", &run, py::arg("path"), py::arg("text"), py::arg("output"), py::arg("params"),
                    py::arg("progress") = py::none())
        .def("info", &info)
        .def("layer", &layer, py::arg("index"));
}

}  // namespace edgemoe::bindings
