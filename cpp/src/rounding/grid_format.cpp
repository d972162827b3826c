#include "rounding/grid_format.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "ggml.h"
#define GGML_COMMON_DECL_CPP
#define GGML_COMMON_IMPL_CPP
#include "ggml-common.h"

namespace edgemoe {
namespace {

static_assert(kGridBlockColumns == QK_K, "ggml's super-blocks");

template <typename Block>
Block load_block(const std::byte * bytes) {
    Block block;
    std::memcpy(&block, bytes, sizeof(block));
    return block;
}

template <typename Block>
void store_block(const Block & block, std::byte * bytes) {
    std::memcpy(bytes, &block, sizeof(block));
}

uint32_t load_word(const void * from) {
    uint32_t word;
    std::memcpy(&word, from, sizeof(word));
    return word;
}

// A word of a scale in the top 4 bits and four times 7 bits of signs; the eighth sign follows from the others.
uint32_t with_signs(uint32_t word, const uint8_t * signs) {
    word &= 0xf0000000u;
    for (int i = 0; i < 4; ++i) {
        word |= static_cast<uint32_t>(signs[i] & 127) << (7 * i);
    }
    return word;
}

// One scale for 16 columns, two in a byte.
void read_nibble_scales(const uint8_t * packed, float d, float * scales) {
    for (int i = 0; i < QK_K / 32; ++i) {
        scales[2 * i] = d * (0.5F + static_cast<float>(packed[i] & 15)) * 0.25F;
        scales[2 * i + 1] = d * (0.5F + static_cast<float>(packed[i] >> 4)) * 0.25F;
    }
}

void read_iq2_xxs(const std::byte * bytes, float * scales) {
    const auto block = load_block<block_iq2_xxs>(bytes);
    const float d = ggml_fp16_to_fp32(block.d);
    for (int i = 0; i < QK_K / 32; ++i) {
        scales[i] = d * (0.5F + static_cast<float>(load_word(block.qs + 4 * i + 2) >> 28)) * 0.25F;
    }
}

void write_iq2_xxs(const uint16_t * indices, const uint8_t * signs, std::byte * bytes) {
    auto block = load_block<block_iq2_xxs>(bytes);
    for (int i = 0; i < QK_K / 32; ++i) {
        uint32_t low = 0;
        for (int k = 0; k < 4; ++k) {
            low |= static_cast<uint32_t>(indices[4 * i + k]) << (8 * k);
        }
        const uint32_t high = with_signs(load_word(block.qs + 4 * i + 2), signs + 4 * i);
        std::memcpy(block.qs + 4 * i, &low, sizeof(low));
        std::memcpy(block.qs + 4 * i + 2, &high, sizeof(high));
    }
    store_block(block, bytes);
}

void read_iq2_xs(const std::byte * bytes, float * scales) {
    const auto block = load_block<block_iq2_xs>(bytes);
    read_nibble_scales(block.scales, ggml_fp16_to_fp32(block.d), scales);
}

void write_iq2_xs(const uint16_t * indices, const uint8_t * signs, std::byte * bytes) {
    auto block = load_block<block_iq2_xs>(bytes);
    for (int i = 0; i < QK_K / 8; ++i) {
        block.qs[i] = static_cast<uint16_t>(indices[i] | (signs[i] & 127) << 9);
    }
    store_block(block, bytes);
}

void read_iq2_s(const std::byte * bytes, float * scales) {
    const auto block = load_block<block_iq2_s>(bytes);
    read_nibble_scales(block.scales, ggml_fp16_to_fp32(block.d), scales);
}

void write_iq2_s(const uint16_t * indices, const uint8_t * signs, std::byte * bytes) {
    auto block = load_block<block_iq2_s>(bytes);
    std::memset(block.qh, 0, sizeof(block.qh));
    for (int i = 0; i < QK_K / 8; ++i) {
        block.qs[i] = static_cast<uint8_t>(indices[i] & 255);
        block.qs[QK_K / 8 + i] = signs[i];
        block.qh[i / 4] = static_cast<uint8_t>(block.qh[i / 4] | (indices[i] >> 8) << (2 * (i % 4)));
    }
    store_block(block, bytes);
}

void read_iq3_xxs(const std::byte * bytes, float * scales) {
    const auto block = load_block<block_iq3_xxs>(bytes);
    const float d = ggml_fp16_to_fp32(block.d);
    for (int i = 0; i < QK_K / 32; ++i) {
        scales[i] = d * (0.5F + static_cast<float>(load_word(block.qs + QK_K / 4 + 4 * i) >> 28)) * 0.5F;
    }
}

void write_iq3_xxs(const uint16_t * indices, const uint8_t * signs, std::byte * bytes) {
    auto block = load_block<block_iq3_xxs>(bytes);
    for (int i = 0; i < QK_K / 4; ++i) {
        block.qs[i] = static_cast<uint8_t>(indices[i]);
    }
    for (int i = 0; i < QK_K / 32; ++i) {
        uint8_t * at = block.qs + QK_K / 4 + 4 * i;
        const uint32_t word = with_signs(load_word(at), signs + 4 * i);
        std::memcpy(at, &word, sizeof(word));
    }
    store_block(block, bytes);
}

void read_iq3_s(const std::byte * bytes, float * scales) {
    const auto block = load_block<block_iq3_s>(bytes);
    const float d = ggml_fp16_to_fp32(block.d);
    for (int i = 0; i < QK_K / 64; ++i) {
        scales[2 * i] = d * static_cast<float>(1 + 2 * (block.scales[i] & 15));
        scales[2 * i + 1] = d * static_cast<float>(1 + 2 * (block.scales[i] >> 4));
    }
}

void write_iq3_s(const uint16_t * indices, const uint8_t * signs, std::byte * bytes) {
    auto block = load_block<block_iq3_s>(bytes);
    std::memset(block.qh, 0, sizeof(block.qh));
    for (int i = 0; i < QK_K / 4; ++i) {
        block.qs[i] = static_cast<uint8_t>(indices[i] & 255);
        block.qh[i / 8] = static_cast<uint8_t>(block.qh[i / 8] | (indices[i] >> 8) << (i % 8));
    }
    std::memcpy(block.signs, signs, sizeof(block.signs));
    store_block(block, bytes);
}

template <typename Grid>
const uint8_t * bytes_of(const Grid & grid) {
    return reinterpret_cast<const uint8_t *>(grid);
}

const std::array<GridFormat, 5> kFormats = {{
    {GGML_TYPE_IQ2_XXS, 8, 32, true, 256, bytes_of(iq2xxs_grid), read_iq2_xxs, write_iq2_xxs},
    {GGML_TYPE_IQ2_XS, 8, 16, true, 512, bytes_of(iq2xs_grid), read_iq2_xs, write_iq2_xs},
    {GGML_TYPE_IQ2_S, 8, 16, false, 1024, bytes_of(iq2s_grid), read_iq2_s, write_iq2_s},
    {GGML_TYPE_IQ3_XXS, 4, 32, true, 256, bytes_of(iq3xxs_grid), read_iq3_xxs, write_iq3_xxs},
    {GGML_TYPE_IQ3_S, 4, 32, false, 512, bytes_of(iq3s_grid), read_iq3_s, write_iq3_s},
}};

}  // namespace

const GridFormat * grid_format(int32_t ggml_type) {
    const auto found =
        std::find_if(kFormats.begin(), kFormats.end(), [&](const GridFormat & f) { return f.type == ggml_type; });
    return found == kFormats.end() ? nullptr : &*found;
}

}  // namespace edgemoe
