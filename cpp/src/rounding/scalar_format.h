// Scalar types: a weight is scale * level - minimum, with a small integer (its code) for the level. Layouts are those
// of ggml-common.h, formulas those of ggml's dequantize_row_*.
#pragma once

#include <cstddef>
#include <cstdint>

#include "rounding/block_scales.h"

namespace edgemoe {

struct ScalarFormat {
    int32_t type;
    int32_t n_levels;
    // Levels in rising order [n_levels], or nullptr: first_level + code.
    const int8_t * levels;
    int32_t first_level;
    ScaleFormat scales;
    // Writes the codes [block_columns] of one block.
    void (*write_codes)(const uint8_t * codes, std::byte * block);
};

// nullptr if the type is none of these. The result is static.
const ScalarFormat * scalar_format(int32_t ggml_type);

}  // namespace edgemoe
