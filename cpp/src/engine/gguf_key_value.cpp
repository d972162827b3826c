#include "engine/gguf_key_value.h"

namespace edgemoe {

namespace {

struct Setter {
    gguf_context * gguf;
    const char * key;

    void operator()(bool value) const { gguf_set_val_bool(gguf, key, value); }
    void operator()(int32_t value) const { gguf_set_val_i32(gguf, key, value); }
    void operator()(uint32_t value) const { gguf_set_val_u32(gguf, key, value); }
    void operator()(int64_t value) const { gguf_set_val_i64(gguf, key, value); }
    void operator()(uint64_t value) const { gguf_set_val_u64(gguf, key, value); }
    void operator()(float value) const { gguf_set_val_f32(gguf, key, value); }
    void operator()(double value) const { gguf_set_val_f64(gguf, key, value); }
    void operator()(const std::string & value) const { gguf_set_val_str(gguf, key, value.c_str()); }
    void operator()(const std::vector<uint8_t> & values) const { array(GGUF_TYPE_UINT8, values); }
    void operator()(const std::vector<int32_t> & values) const { array(GGUF_TYPE_INT32, values); }
    void operator()(const std::vector<uint32_t> & values) const { array(GGUF_TYPE_UINT32, values); }
    void operator()(const std::vector<float> & values) const { array(GGUF_TYPE_FLOAT32, values); }
    void operator()(const std::vector<std::string> & values) const {
        std::vector<const char *> texts;
        for (const std::string & value : values) {
            texts.push_back(value.c_str());
        }
        gguf_set_arr_str(gguf, key, texts.data(), texts.size());
    }

    template <typename Value>
    void array(gguf_type type, const std::vector<Value> & values) const {
        gguf_set_arr_data(gguf, key, type, values.data(), values.size());
    }
};

}  // namespace

void set_key_value(gguf_context * gguf, const GgufKeyValue & entry) {
    std::visit(Setter{gguf, entry.key.c_str()}, entry.value);
}

}  // namespace edgemoe
