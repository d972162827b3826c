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

// Codes of 4 bits, two in a byte.
void unpack_nibbles(const uint8_t * packed, int n_bytes, StoredScales * scales) {
    for (int i = 0; i < n_bytes; ++i) {
        scales->codes[2 * i] = packed[i] & 15;
        scales->codes[2 * i + 1] = packed[i] >> 4;
    }
}

void pack_nibbles(const StoredScales & scales, int n_bytes, uint8_t * packed) {
    for (int i = 0; i < n_bytes; ++i) {
        packed[i] = static_cast<uint8_t>(scales.codes[2 * i] | scales.codes[2 * i + 1] << 4);
    }
}

template <typename Block>
void read_nibbles(const std::byte * bytes, StoredScales * scales) {
    const auto block = load_block<Block>(bytes);
    scales->d = block.d;
    unpack_nibbles(block.scales, sizeof(block.scales), scales);
}

template <typename Block>
void write_nibbles(const StoredScales & scales, std::byte * bytes) {
    auto block = load_block<Block>(bytes);
    block.d = scales.d;
    pack_nibbles(scales, sizeof(block.scales), block.scales);
    store_block(block, bytes);
}

// A code in the top 4 bits of a word, one for 32 columns.
uint32_t with_code(uint32_t word, int32_t code) {
    return (word & 0x0fffffffu) | static_cast<uint32_t>(code) << 28;
}

void read_iq2_xxs(const std::byte * bytes, StoredScales * scales) {
    const auto block = load_block<block_iq2_xxs>(bytes);
    scales->d = block.d;
    for (int i = 0; i < QK_K / 32; ++i) {
        scales->codes[i] = static_cast<int32_t>(load_word(block.qs + 4 * i + 2) >> 28);
    }
}

void write_iq2_xxs_scales(const StoredScales & scales, std::byte * bytes) {
    auto block = load_block<block_iq2_xxs>(bytes);
    block.d = scales.d;
    for (int i = 0; i < QK_K / 32; ++i) {
        const uint32_t word = with_code(load_word(block.qs + 4 * i + 2), scales.codes[i]);
        std::memcpy(block.qs + 4 * i + 2, &word, sizeof(word));
    }
    store_block(block, bytes);
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

void write_iq2_xs(const uint16_t * indices, const uint8_t * signs, std::byte * bytes) {
    auto block = load_block<block_iq2_xs>(bytes);
    for (int i = 0; i < QK_K / 8; ++i) {
        block.qs[i] = static_cast<uint16_t>(indices[i] | (signs[i] & 127) << 9);
    }
    store_block(block, bytes);
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

void read_iq3_xxs(const std::byte * bytes, StoredScales * scales) {
    const auto block = load_block<block_iq3_xxs>(bytes);
    scales->d = block.d;
    for (int i = 0; i < QK_K / 32; ++i) {
        scales->codes[i] = static_cast<int32_t>(load_word(block.qs + QK_K / 4 + 4 * i) >> 28);
    }
}

void write_iq3_xxs_scales(const StoredScales & scales, std::byte * bytes) {
    auto block = load_block<block_iq3_xxs>(bytes);
    block.d = scales.d;
    for (int i = 0; i < QK_K / 32; ++i) {
        const uint32_t word = with_code(load_word(block.qs + QK_K / 4 + 4 * i), scales.codes[i]);
        std::memcpy(block.qs + QK_K / 4 + 4 * i, &word, sizeof(word));
    }
    store_block(block, bytes);
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

// Made at the first call, not while the library is loaded: this file is also compiled for processors that are not the
// one at hand.
const std::array<GridFormat, 5> & formats() {
    static const std::array<GridFormat, 5> kFormats = {{
        {GGML_TYPE_IQ2_XXS,
         8,
         true,
         256,
         bytes_of(iq2xxs_grid),
         {QK_K, sizeof(block_iq2_xxs), 32, 0.25F, 0.125F, 0, 15, 0, read_iq2_xxs, write_iq2_xxs_scales},
         write_iq2_xxs},
        {GGML_TYPE_IQ2_XS,
         8,
         true,
         512,
         bytes_of(iq2xs_grid),
         {QK_K, sizeof(block_iq2_xs), 16, 0.25F, 0.125F, 0, 15, 0, read_nibbles<block_iq2_xs>,
          write_nibbles<block_iq2_xs>},
         write_iq2_xs},
        {GGML_TYPE_IQ2_S,
         8,
         false,
         1024,
         bytes_of(iq2s_grid),
         {QK_K, sizeof(block_iq2_s), 16, 0.25F, 0.125F, 0, 15, 0, read_nibbles<block_iq2_s>,
          write_nibbles<block_iq2_s>},
         write_iq2_s},
        {GGML_TYPE_IQ3_XXS,
         4,
         true,
         256,
         bytes_of(iq3xxs_grid),
         {QK_K, sizeof(block_iq3_xxs), 32, 0.5F, 0.25F, 0, 15, 0, read_iq3_xxs, write_iq3_xxs_scales},
         write_iq3_xxs},
        {GGML_TYPE_IQ3_S,
         4,
         false,
         512,
         bytes_of(iq3s_grid),
         {QK_K, sizeof(block_iq3_s), 32, 2.0F, 1.0F, 0, 15, 0, read_nibbles<block_iq3_s>, write_nibbles<block_iq3_s>},
         write_iq3_s},
    }};
    return kFormats;
}

}  // namespace

const GridFormat * grid_format(int32_t ggml_type) {
    const auto found =
        std::find_if(formats().begin(), formats().end(), [&](const GridFormat & f) { return f.type == ggml_type; });
    return found == formats().end() ? nullptr : &*found;
}

}  // namespace edgemoe
