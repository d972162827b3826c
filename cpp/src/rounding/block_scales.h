// The scales of a panel of rows: read from ggml's blocks, moved to where an error is smaller, written back.
//
// A weight is scale * level - minimum. A block has a 16-bit factor d, in most types a small integer code for each 16 or
// 32 columns, so that scale = d * (code_step * code + code_start), and in some types minima = dmin * code. One thread
// at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace edgemoe {

// Scales of one block as they are stored.
struct StoredScales {
    static constexpr int64_t kMostCodes = 16;
    uint16_t d = 0;
    uint16_t dmin = 0;
    int32_t codes[kMostCodes] = {};
    int32_t minimum_codes[kMostCodes] = {};
};

// How a type stores scales.
struct ScaleFormat {
    int64_t block_columns;
    int64_t block_bytes;
    // Columns that share a scale.
    int64_t scale_columns;
    float code_step;
    float code_start;
    // Range of the codes; equal where scales have none.
    int32_t lowest_code;
    int32_t highest_code;
    // 0: no minima.
    int32_t highest_minimum_code;
    void (*read)(const std::byte * block, StoredScales * scales);
    void (*write)(const StoredScales & scales, std::byte * block);

    bool has_codes() const { return highest_code > lowest_code; }
    bool has_minima() const { return highest_minimum_code > 0; }
};

class BlockScales {
public:
    BlockScales(const ScaleFormat & format, int64_t columns, int64_t lanes);

    const ScaleFormat & format() const { return format_; }

    // Returns false if a scale is not finite. Lanes beyond n_rows have scale 0.
    bool read(const std::byte * blocks, int64_t n_rows);
    void write(std::byte * blocks, int64_t n_rows) const;

    // Of the columns that share the scale of `column`, [lanes] each: scale, 1 / scale (0 where that is not finite),
    // -minimum.
    const float * scale(int64_t column) const { return scales_.data() + column / format_.scale_columns * lanes_; }
    const float * inverse(int64_t column) const { return inverses_.data() + column / format_.scale_columns * lanes_; }
    const float * offset(int64_t column) const { return offsets_.data() + column / format_.scale_columns * lanes_; }

    // Moves scale or offset of the columns around `column` by `change` [lanes], as nearly as the codes allow.
    // REQUIRES: the format has codes or minima.
    void move_scale(int64_t column, const float * change);
    void move_offset(int64_t column, const float * change);
    // Moves d of the block of `column`, and with it all of its scales, by the share `change` [lanes] of itself, as
    // nearly as 16 bits allow.
    void move_block(int64_t column, const float * change);

private:
    void update(int64_t shared);

    const ScaleFormat & format_;
    int64_t lanes_;
    int64_t n_blocks_;
    int64_t n_shared_;  // scales of a block
    // [blocks][lanes] and [blocks * n_shared_][lanes]
    std::vector<float> d_;
    std::vector<float> dmin_;
    std::vector<float> codes_;
    std::vector<float> minimum_codes_;
    std::vector<float> scales_;
    std::vector<float> inverses_;
    std::vector<float> offsets_;
};

}  // namespace edgemoe
