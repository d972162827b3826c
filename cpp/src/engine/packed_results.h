// What was measured on a packed file, as its header keeps it.
#pragma once

#include "engine/gguf_key_value.h"

#include <cstdint>
#include <limits>
#include <vector>

namespace edgemoe {

// NaN and 0: not measured. Each field is stored under kPackedPrefix and its name.
struct PackedResults {
    double perplexity = std::numeric_limits<double>::quiet_NaN();
    double kl_divergence =
        std::numeric_limits<double>::quiet_NaN();  // nats per token, against the model before packing
    double kl_divergence_error = std::numeric_limits<double>::quiet_NaN();
    double argmax_agreement = std::numeric_limits<double>::quiet_NaN();  // share of tokens
    uint64_t tokens = 0;                                                 // that were scored
};

// Always the same entries, of the same lengths.
std::vector<GgufKeyValue> to_key_values(const PackedResults & results);

}  // namespace edgemoe
