// A metadata entry of a GGUF file that is to be written.
#pragma once

#include "gguf.h"

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

namespace edgemoe {

using GgufValue =
    std::variant<bool, int32_t, uint32_t, int64_t, uint64_t, float, double, std::string, std::vector<uint8_t>,
                 std::vector<int32_t>, std::vector<uint32_t>, std::vector<float>, std::vector<std::string>>;

struct GgufKeyValue {
    std::string key;
    GgufValue value;
};

// Adds the entry to `gguf`, or replaces the one of that key. An entry that is replaced by one of the same type and
// length leaves the size of the header as it was.
void set_key_value(gguf_context * gguf, const GgufKeyValue & entry);

}  // namespace edgemoe
