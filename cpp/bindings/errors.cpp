// client::Error becomes the exception that python/edgemoe/errors.py, or Python itself, has for its code.
#include "register.h"

#include <exception>

namespace edgemoe::bindings {

namespace py = pybind11;

namespace {

py::object exception_type(edgemoe_code code) {
    const auto ours = [](const char * name) -> py::object { return py::module_::import("edgemoe.errors").attr(name); };
    const auto builtin = [](PyObject * type) { return py::reinterpret_borrow<py::object>(type); };
    switch (code) {
        case EDGEMOE_INVALID_ARGUMENT:
            return builtin(PyExc_ValueError);
        case EDGEMOE_NOT_FOUND:
            return builtin(PyExc_FileNotFoundError);
        case EDGEMOE_FORMAT:
            return ours("ModelFormatError");
        case EDGEMOE_IO:
            return ours("EdgemoeIOError");
        case EDGEMOE_OUT_OF_BUDGET:
            return ours("OutOfBudgetError");
        case EDGEMOE_CANCELLED:
            return ours("Cancelled");
        default:
            return ours("EdgemoeError");
    }
}

}  // namespace

void register_errors(py::module_ & /*module*/) {
    py::register_exception_translator([](std::exception_ptr thrown) {
        try {
            if (thrown) {
                std::rethrow_exception(thrown);
            }
        } catch (const client::Error & error) {
            PyErr_SetObject(exception_type(error.code()).ptr(), to_str(error.what()).ptr());
        }
    });
}

}  // namespace edgemoe::bindings
