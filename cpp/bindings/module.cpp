// The extension module edgemoe._core.
#include "register.h"

// The macro is variadic and is used without its optional arguments, which differ between pybind11 2 and 3.
#pragma GCC diagnostic ignored "-Wpedantic"

PYBIND11_MODULE(_core, module) {
    using namespace edgemoe::bindings;
    module.doc() = "edgemoe's engine; use the package edgemoe instead.";
    register_errors(module);
    register_log(module);
    register_load_params(module);
    register_generate_params(module);
    register_generation(module);
    register_model(module);
    register_planning(module);
    register_evaluate(module);
    register_profile(module);
    register_judge(module);
    register_pack(module);
    register_packed(module);
    module.def("version", [] { return edgemoe_version(); });
}
