// The option structs of edgemoe.h with the strings that they point to. Defaults come from the _init functions alone.
#pragma once

#include <edgemoe/edgemoe.hpp>

#include <optional>
#include <string>
#include <vector>

namespace edgemoe::bindings {

struct LoadParams {
    edgemoe_load_params values = client::default_load_params();
    std::optional<std::string> cache_type_k;
    std::optional<std::string> cache_type_v;
    std::optional<std::string> io;
    std::optional<std::string> eviction;
    std::optional<std::string> profile;  // a path

    // A copy whose pointers borrow from this object.
    edgemoe_load_params borrow() const {
        edgemoe_load_params params = values;
        const auto point = [](const char *& field, const std::optional<std::string> & text) {
            if (text) {
                field = text->c_str();
            }
        };
        point(params.cache_type_k, cache_type_k);
        point(params.cache_type_v, cache_type_v);
        point(params.io, io);
        point(params.eviction, eviction);
        point(params.profile, profile);
        return params;
    }
};

struct GenerateParams {
    edgemoe_generate_params values = client::default_generate_params();
    std::vector<std::string> stop;
};

struct EvaluateParams {
    edgemoe_evaluate_params values = client::default_evaluate_params();
    LoadParams load;
    std::optional<std::string> against;  // a path
};

struct ProfileParams {
    edgemoe_profile_params values = client::default_profile_params();
    LoadParams load;
    std::optional<std::string> activations;  // a path
};

struct JudgeParams {
    edgemoe_judge_params values = client::default_judge_params();
    LoadParams load;
    std::optional<std::string> activations;  // a path
};

struct PackParams {
    edgemoe_pack_params values = client::default_pack_params();
    LoadParams load;
    std::optional<std::string> types;
    std::optional<std::string> as_good_as;  // a path
};

}  // namespace edgemoe::bindings
