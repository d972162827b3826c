#include "c_api/packed_description.h"

#include "engine/packed_format.h"

#include <cmath>
#include <cstdio>
#include <cstring>
#include <map>
#include <optional>
#include <tuple>

namespace edgemoe {

namespace {

// Numbers and texts; not arrays, nor what was not measured, nor what only tells whether the file is whole.
std::optional<std::string> value_text(const gguf_context * gguf, int64_t id) {
    char text[64] = {};
    double number = 0;
    switch (gguf_get_kv_type(gguf, id)) {
        case GGUF_TYPE_STRING:
            return std::string(gguf_get_val_str(gguf, id));
        case GGUF_TYPE_BOOL:
            return std::string(gguf_get_val_bool(gguf, id) ? "yes" : "no");
        case GGUF_TYPE_UINT32:
            return std::to_string(gguf_get_val_u32(gguf, id));
        case GGUF_TYPE_INT32:
            return std::to_string(gguf_get_val_i32(gguf, id));
        case GGUF_TYPE_UINT64:
            // A count of what was not measured.
            return gguf_get_val_u64(gguf, id) == 0 ? std::nullopt
                                                   : std::optional(std::to_string(gguf_get_val_u64(gguf, id)));
        case GGUF_TYPE_INT64:
            return std::to_string(gguf_get_val_i64(gguf, id));
        case GGUF_TYPE_FLOAT32:
            number = static_cast<double>(gguf_get_val_f32(gguf, id));
            break;
        case GGUF_TYPE_FLOAT64:
            number = gguf_get_val_f64(gguf, id);
            break;
        default:
            return std::nullopt;
    }
    if (std::isnan(number)) {
        return std::nullopt;
    }
    std::snprintf(text, sizeof(text), "%.6g", number);
    return std::string(text);
}

}  // namespace

PackedDescription describe_packed(const GgufSource & source) {
    PackedDescription description;
    std::map<std::tuple<int32_t, size_t, int32_t>, edgemoe_type_use> uses;
    for (const ExpertLayer & layer : source.experts().layers()) {
        for (const ExpertParts & parts : layer.experts) {
            for (size_t p = 0; p < kProjectionCount; p++) {
                if (parts[p].present) {
                    edgemoe_type_use & use = uses[{layer.layer, p, parts[p].type}];
                    use.layer = layer.layer;
                    use.projection = kProjectionNames[p];
                    use.type = ggml_type_name(static_cast<ggml_type>(parts[p].type));
                    use.n_experts++;
                    use.bytes += parts[p].bytes;
                }
            }
        }
    }
    for (const auto & [key, use] : uses) {
        description.uses.push_back(use);
    }
    const gguf_context * gguf = source.metadata();
    for (int64_t i = 0; i < gguf_get_n_kv(gguf); i++) {
        const char * key = gguf_get_key(gguf, i);
        if (std::strncmp(key, kPackedPrefix, std::strlen(kPackedPrefix)) != 0 ||
            std::strcmp(key, kHeaderChecksumKey) == 0) {
            continue;
        }
        const std::optional<std::string> text = value_text(gguf, i);
        if (text.has_value()) {
            const std::string & name = description.texts.emplace_back(key + std::strlen(kPackedPrefix));
            const std::string & value = description.texts.emplace_back(*text);
            description.entries.push_back({name.c_str(), value.c_str()});
        }
    }
    return description;
}

}  // namespace edgemoe
