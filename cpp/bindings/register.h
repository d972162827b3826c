// What each file of this folder adds to the module; module.cpp calls them in this order.
#pragma once

#include <edgemoe/edgemoe.hpp>

#include <pybind11/pybind11.h>

#include <string_view>
#include <vector>

namespace edgemoe::bindings {

void register_errors(pybind11::module_ & module);
void register_log(pybind11::module_ & module);
void register_load_params(pybind11::module_ & module);
void register_generate_params(pybind11::module_ & module);
void register_generation(pybind11::module_ & module);
void register_model(pybind11::module_ & module);
void register_planning(pybind11::module_ & module);
void register_evaluate(pybind11::module_ & module);
void register_profile(pybind11::module_ & module);
void register_judge(pybind11::module_ & module);
void register_pack(pybind11::module_ & module);
void register_packed(pybind11::module_ & module);

// By field name, strings decoded. Defined in records.cpp.
pybind11::dict to_dict(const edgemoe_model_info & info);
pybind11::dict to_dict(const edgemoe_stats & stats);
pybind11::list to_list(const std::vector<edgemoe_type_use> & uses);

// Bytes that ought to be UTF-8 (a model's text, a name in a file); what is not becomes U+FFFD. Defined in records.cpp.
pybind11::str to_str(std::string_view text);

}  // namespace edgemoe::bindings
