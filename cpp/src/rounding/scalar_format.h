// Scalar types: a weight is scale * level + offset, with a small integer (its code) for the level and scale and offset
// shared by 16 or 32 neighbours. Layouts are those of ggml-common.h, formulas those of ggml's dequantize_row_*.
#pragma once

#include <cstddef>
#include <cstdint>

namespace edgemoe {

struct ScalarFormat {
    int32_t type;
    // Columns of a block, and of what shares a scale.
    int64_t block_columns;
    int64_t scale_columns;
    int32_t n_levels;
    // Levels in rising order [n_levels], or nullptr: the codes themselves.
    const int8_t * levels;
    // Reads block_columns / scale_columns scales and offsets of one block.
    void (*read_scales)(const std::byte * block, float * scales, float * offsets);
    // Writes the codes [block_columns] of one block.
    void (*write_codes)(const uint8_t * codes, std::byte * block);
};

// nullptr if the type is none of these. The result is static.
const ScalarFormat * scalar_format(int32_t ggml_type);

}  // namespace edgemoe
