// What a model file says about its experts' types and, if it is packed, about how it was packed.
#pragma once

#include "edgemoe/edgemoe.h"
#include "engine/gguf_source.h"

#include <deque>
#include <string>
#include <vector>

namespace edgemoe {

// The records borrow from `texts`, whose elements stay where they are when it is moved, and from ggml.
struct PackedDescription {
    std::vector<edgemoe_type_use> uses;
    std::vector<edgemoe_packed_entry> entries;
    std::deque<std::string> texts;

    PackedDescription() = default;
    PackedDescription(PackedDescription &&) = default;
    PackedDescription & operator=(PackedDescription &&) = default;
};

PackedDescription describe_packed(const GgufSource & source);

}  // namespace edgemoe
