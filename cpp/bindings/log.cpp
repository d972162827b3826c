// The log callback. Lines may come from any thread; each takes the GIL for the time of the call, so no call into the
// library that may log is made with the GIL held.
#include "register.h"

namespace edgemoe::bindings {

namespace py = pybind11;

namespace {

// Written with the GIL held, and only while no callback is set. A plain pointer: it outlives the interpreter's
// teardown.
PyObject * log_function = nullptr;

void forward(edgemoe_log_level level, const char * text, void * /*user_data*/) {
    const py::gil_scoped_acquire acquired;
    if (log_function == nullptr) {
        return;
    }
    try {
        py::reinterpret_borrow<py::function>(log_function)(static_cast<int>(level), to_str(text));
    } catch (py::error_already_set & raised) {
        raised.discard_as_unraisable("edgemoe's log callback");
    }
}

void set_log(const py::object & function) {
    {
        const py::gil_scoped_release released;
        edgemoe_log_set(nullptr, nullptr);
    }
    Py_XDECREF(log_function);
    log_function = nullptr;
    if (!function.is_none()) {
        log_function = py::object(function).release().ptr();
        const py::gil_scoped_release released;
        edgemoe_log_set(forward, nullptr);
    }
}

}  // namespace

void register_log(py::module_ & module) {
    module.def("set_log", set_log, py::arg("function"),
               "Sends the library's log to function(level, text), or nowhere (None). Process-wide.");
    // Threads may outlive the interpreter; what they log then goes nowhere.
    py::module_::import("atexit").attr("register")(py::cpp_function([] { set_log(py::none()); }));
}

}  // namespace edgemoe::bindings
