#include "engine/type_ladder.h"

#include "ggml.h"

#include <algorithm>
#include <cctype>

namespace edgemoe {

namespace {

std::string lower_case(std::string text) {
    for (char & c : text) {
        c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    }
    return text;
}

}  // namespace

std::vector<int32_t> default_ladder() {
    return {GGML_TYPE_IQ1_M, GGML_TYPE_IQ2_XXS, GGML_TYPE_IQ2_XS, GGML_TYPE_IQ2_S,  GGML_TYPE_Q2_K, GGML_TYPE_IQ3_XXS,
            GGML_TYPE_IQ3_S, GGML_TYPE_Q3_K,    GGML_TYPE_IQ4_XS, GGML_TYPE_IQ4_NL, GGML_TYPE_Q4_0, GGML_TYPE_Q4_K,
            GGML_TYPE_Q5_0,  GGML_TYPE_Q5_K,    GGML_TYPE_Q6_K,   GGML_TYPE_Q8_0};
}

Result<std::vector<int32_t>> parse_ladder(const std::string & names) {
    std::vector<int32_t> types;
    for (size_t begin = 0; begin <= names.size();) {
        const size_t end = std::min(names.find(',', begin), names.size());
        const std::string name = lower_case(names.substr(begin, end - begin));
        int32_t type = -1;
        for (int32_t i = 0; i < GGML_TYPE_COUNT; i++) {
            const char * known = ggml_type_name(static_cast<ggml_type>(i));
            if (known != nullptr && !name.empty() && lower_case(known) == name) {
                type = i;
            }
        }
        if (type < 0 || ggml_get_type_traits(static_cast<ggml_type>(type))->to_float == nullptr) {
            return Status(StatusCode::kInvalidArgument,
                          "no ggml type that weights can have is called \"" + name + "\"; try IQ2_XS,IQ3_S,IQ4_XS");
        }
        if (std::find(types.begin(), types.end(), type) == types.end()) {
            types.push_back(type);
        }
        begin = end + 1;
    }
    return types;
}

}  // namespace edgemoe
