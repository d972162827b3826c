// Grid types: the magnitudes of 4 or 8 neighbouring weights are one vector out of a fixed grid, each weight has a sign,
// and a scale is shared by 16 or 32 neighbours. Where signs are stored in 7 bits for 8 weights, an even number of them
// is negative. Layouts are those of ggml-common.h, formulas those of ggml's dequantize_row_iq*. Blocks have 256
// columns.
#pragma once

#include <cstddef>
#include <cstdint>

#include "rounding/block_scales.h"

namespace edgemoe {

struct GridFormat {
    int32_t type;
    // Columns of a grid vector.
    int64_t vector_columns;
    bool even_signs;
    int32_t n_vectors;
    // Magnitudes, [n_vectors][vector_columns].
    const uint8_t * vectors;
    ScaleFormat scales;
    // Writes the grid indices [256 / vector_columns] and signs [32] (bit i of a byte: weight i of its 8 is negative) of
    // one block.
    void (*write_choice)(const uint16_t * indices, const uint8_t * signs, std::byte * block);
};

// Columns that signs are stored for together.
constexpr int64_t kSignColumns = 8;
constexpr int64_t kGridBlockColumns = 256;

// nullptr if the type is none of these. The result is static.
const GridFormat * grid_format(int32_t ggml_type);

}  // namespace edgemoe
