#include "rounding/scalar_format.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "ggml.h"
#define GGML_COMMON_DECL_CPP
#define GGML_COMMON_IMPL_CPP
#include "ggml-common.h"

namespace edgemoe {
namespace {

// Blocks lie at any address: they are copied out and in.
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

// A block whose only scale is d.
template <typename Block>
void read_d(const std::byte * bytes, StoredScales * scales) {
    scales->d = load_block<Block>(bytes).d;
}

template <typename Block>
void write_d(const StoredScales & scales, std::byte * bytes) {
    auto block = load_block<Block>(bytes);
    block.d = scales.d;
    store_block(block, bytes);
}

// Two codes of 4 bits a byte, `half` columns apart.
void write_nibbles(const uint8_t * codes, int64_t half, uint8_t * bytes) {
    for (int64_t i = 0; i < half; ++i) {
        bytes[i] = static_cast<uint8_t>((codes[i] & 15) | (codes[half + i] & 15) << 4);
    }
}

// The low two bits of 256 codes: four codes a byte, 32 columns apart.
void write_pairs_of_bits(const uint8_t * codes, uint8_t * bytes) {
    for (int64_t half = 0; half < 2; ++half) {
        const uint8_t * from = codes + 128 * half;
        for (int64_t i = 0; i < 32; ++i) {
            bytes[32 * half + i] = static_cast<uint8_t>((from[i] & 3) | (from[i + 32] & 3) << 2 |
                                                        (from[i + 64] & 3) << 4 | (from[i + 96] & 3) << 6);
        }
    }
}

// Bit `bit` of 256 codes: eight codes a byte, 32 columns apart.
void write_bit(const uint8_t * codes, int bit, uint8_t * bytes) {
    std::fill_n(bytes, 32, uint8_t{0});
    for (int64_t i = 0; i < QK_K; ++i) {
        bytes[i % 32] = static_cast<uint8_t>(bytes[i % 32] | ((codes[i] >> bit) & 1) << (i / 32));
    }
}

void write_q4_0(const uint8_t * codes, std::byte * bytes) {
    auto block = load_block<block_q4_0>(bytes);
    write_nibbles(codes, QK4_0 / 2, block.qs);
    store_block(block, bytes);
}

void write_q5_0(const uint8_t * codes, std::byte * bytes) {
    auto block = load_block<block_q5_0>(bytes);
    write_nibbles(codes, QK5_0 / 2, block.qs);
    uint32_t high = 0;
    for (int i = 0; i < QK5_0; ++i) {
        high |= static_cast<uint32_t>(codes[i] >> 4) << i;
    }
    std::memcpy(block.qh, &high, sizeof(high));
    store_block(block, bytes);
}

void write_q8_0(const uint8_t * codes, std::byte * bytes) {
    auto block = load_block<block_q8_0>(bytes);
    for (int i = 0; i < QK8_0; ++i) {
        block.qs[i] = static_cast<int8_t>(codes[i] - 127);
    }
    store_block(block, bytes);
}

void read_q2_k(const std::byte * bytes, StoredScales * scales) {
    const auto block = load_block<block_q2_K>(bytes);
    scales->d = block.data.data.d;
    scales->dmin = block.data.data.dmin;
    for (int i = 0; i < QK_K / 16; ++i) {
        scales->codes[i] = block.scales[i] & 15;
        scales->minimum_codes[i] = block.scales[i] >> 4;
    }
}

void write_q2_k_scales(const StoredScales & scales, std::byte * bytes) {
    auto block = load_block<block_q2_K>(bytes);
    block.data.data.d = scales.d;
    block.data.data.dmin = scales.dmin;
    for (int i = 0; i < QK_K / 16; ++i) {
        block.scales[i] = static_cast<uint8_t>(scales.codes[i] | scales.minimum_codes[i] << 4);
    }
    store_block(block, bytes);
}

void write_q2_k(const uint8_t * codes, std::byte * bytes) {
    auto block = load_block<block_q2_K>(bytes);
    write_pairs_of_bits(codes, block.qs);
    store_block(block, bytes);
}

// Codes of 6 bits: the low 4 in nibbles of the first eight bytes, 8 codes apart; the high 2 in the last four bytes, 4
// codes apart.
void read_q3_k(const std::byte * bytes, StoredScales * scales) {
    const auto block = load_block<block_q3_K>(bytes);
    scales->d = block.d;
    for (int i = 0; i < QK_K / 16; ++i) {
        const int low = block.scales[i % 8] >> (4 * (i / 8)) & 15;
        const int high = block.scales[8 + i % 4] >> (2 * (i / 4)) & 3;
        scales->codes[i] = low | high << 4;
    }
}

void write_q3_k_scales(const StoredScales & scales, std::byte * bytes) {
    auto block = load_block<block_q3_K>(bytes);
    block.d = scales.d;
    std::memset(block.scales, 0, sizeof(block.scales));
    for (int i = 0; i < QK_K / 16; ++i) {
        uint8_t & low = block.scales[i % 8];
        uint8_t & high = block.scales[8 + i % 4];
        low = static_cast<uint8_t>(low | (scales.codes[i] & 15) << (4 * (i / 8)));
        high = static_cast<uint8_t>(high | scales.codes[i] >> 4 << (2 * (i / 4)));
    }
    store_block(block, bytes);
}

void write_q3_k(const uint8_t * codes, std::byte * bytes) {
    auto block = load_block<block_q3_K>(bytes);
    write_pairs_of_bits(codes, block.qs);
    write_bit(codes, 2, block.hmask);
    store_block(block, bytes);
}

// Scales and minima of Q4_K and Q5_K, 6 bits each: the first four of both in the low bits of 8 bytes, the others in
// nibbles of the last four bytes and the high bits of the first eight.
void unpack_k4(const uint8_t * packed, StoredScales * scales) {
    for (int i = 0; i < 4; ++i) {
        scales->codes[i] = packed[i] & 63;
        scales->minimum_codes[i] = packed[i + 4] & 63;
        scales->codes[i + 4] = (packed[i + 8] & 15) | (packed[i] >> 6) << 4;
        scales->minimum_codes[i + 4] = packed[i + 8] >> 4 | (packed[i + 4] >> 6) << 4;
    }
}

void pack_k4(const StoredScales & scales, uint8_t * packed) {
    for (int i = 0; i < 4; ++i) {
        packed[i] = static_cast<uint8_t>(scales.codes[i] | scales.codes[i + 4] >> 4 << 6);
        packed[i + 4] = static_cast<uint8_t>(scales.minimum_codes[i] | scales.minimum_codes[i + 4] >> 4 << 6);
        packed[i + 8] = static_cast<uint8_t>((scales.codes[i + 4] & 15) | (scales.minimum_codes[i + 4] & 15) << 4);
    }
}

template <typename Block>
void read_k4(const std::byte * bytes, StoredScales * scales) {
    const auto block = load_block<Block>(bytes);
    scales->d = block.data.data.d;
    scales->dmin = block.data.data.dmin;
    unpack_k4(block.scales, scales);
}

template <typename Block>
void write_k4_scales(const StoredScales & scales, std::byte * bytes) {
    auto block = load_block<Block>(bytes);
    block.data.data.d = scales.d;
    block.data.data.dmin = scales.dmin;
    pack_k4(scales, block.scales);
    store_block(block, bytes);
}

void write_q4_k(const uint8_t * codes, std::byte * bytes) {
    auto block = load_block<block_q4_K>(bytes);
    for (int64_t i = 0; i < 4; ++i) {
        write_nibbles(codes + 64 * i, 32, block.qs + 32 * i);
    }
    store_block(block, bytes);
}

void write_q5_k(const uint8_t * codes, std::byte * bytes) {
    auto block = load_block<block_q5_K>(bytes);
    for (int64_t i = 0; i < 4; ++i) {
        write_nibbles(codes + 64 * i, 32, block.qs + 32 * i);
    }
    write_bit(codes, 4, block.qh);
    store_block(block, bytes);
}

void read_q6_k(const std::byte * bytes, StoredScales * scales) {
    const auto block = load_block<block_q6_K>(bytes);
    scales->d = block.d;
    std::copy_n(block.scales, QK_K / 16, scales->codes);
}

void write_q6_k_scales(const StoredScales & scales, std::byte * bytes) {
    auto block = load_block<block_q6_K>(bytes);
    block.d = scales.d;
    for (int i = 0; i < QK_K / 16; ++i) {
        block.scales[i] = static_cast<int8_t>(scales.codes[i]);
    }
    store_block(block, bytes);
}

void write_q6_k(const uint8_t * codes, std::byte * bytes) {
    auto block = load_block<block_q6_K>(bytes);
    for (int64_t half = 0; half < 2; ++half) {
        const uint8_t * from = codes + 128 * half;
        write_nibbles(from, 64, block.ql + 64 * half);
        for (int64_t i = 0; i < 32; ++i) {
            block.qh[32 * half + i] = static_cast<uint8_t>(from[i] >> 4 | from[i + 32] >> 4 << 2 |
                                                           from[i + 64] >> 4 << 4 | from[i + 96] >> 4 << 6);
        }
    }
    store_block(block, bytes);
}

void write_iq4_nl(const uint8_t * codes, std::byte * bytes) {
    auto block = load_block<block_iq4_nl>(bytes);
    write_nibbles(codes, QK4_NL / 2, block.qs);
    store_block(block, bytes);
}

void read_iq4_xs(const std::byte * bytes, StoredScales * scales) {
    const auto block = load_block<block_iq4_xs>(bytes);
    scales->d = block.d;
    for (int i = 0; i < QK_K / 32; ++i) {
        const int low = block.scales_l[i / 2] >> (4 * (i % 2)) & 15;
        const int high = block.scales_h >> (2 * i) & 3;
        scales->codes[i] = low | high << 4;
    }
}

void write_iq4_xs_scales(const StoredScales & scales, std::byte * bytes) {
    auto block = load_block<block_iq4_xs>(bytes);
    block.d = scales.d;
    block.scales_h = 0;
    std::memset(block.scales_l, 0, sizeof(block.scales_l));
    for (int i = 0; i < QK_K / 32; ++i) {
        block.scales_l[i / 2] = static_cast<uint8_t>(block.scales_l[i / 2] | (scales.codes[i] & 15) << (4 * (i % 2)));
        block.scales_h = static_cast<uint16_t>(block.scales_h | scales.codes[i] >> 4 << (2 * i));
    }
    store_block(block, bytes);
}

void write_iq4_xs(const uint8_t * codes, std::byte * bytes) {
    auto block = load_block<block_iq4_xs>(bytes);
    for (int64_t i = 0; i < QK_K / 32; ++i) {
        write_nibbles(codes + 32 * i, 16, block.qs + 16 * i);
    }
    store_block(block, bytes);
}

// 32 columns and one scale.
template <typename Block>
constexpr ScaleFormat one_scale() {
    return {32, sizeof(Block), 32, 0.0F, 1.0F, 0, 0, 0, read_d<Block>, write_d<Block>};
}

const std::array<ScalarFormat, 10> kFormats = {{
    {GGML_TYPE_Q4_0, 16, nullptr, -8, one_scale<block_q4_0>(), write_q4_0},
    {GGML_TYPE_Q5_0, 32, nullptr, -16, one_scale<block_q5_0>(), write_q5_0},
    {GGML_TYPE_Q8_0, 255, nullptr, -127, one_scale<block_q8_0>(), write_q8_0},
    {GGML_TYPE_IQ4_NL, 16, kvalues_iq4nl, 0, one_scale<block_iq4_nl>(), write_iq4_nl},
    {GGML_TYPE_Q2_K,
     4,
     nullptr,
     0,
     {QK_K, sizeof(block_q2_K), 16, 1.0F, 0.0F, 0, 15, 15, read_q2_k, write_q2_k_scales},
     write_q2_k},
    {GGML_TYPE_Q3_K,
     8,
     nullptr,
     -4,
     {QK_K, sizeof(block_q3_K), 16, 1.0F, -32.0F, 0, 63, 0, read_q3_k, write_q3_k_scales},
     write_q3_k},
    {GGML_TYPE_Q4_K,
     16,
     nullptr,
     0,
     {QK_K, sizeof(block_q4_K), 32, 1.0F, 0.0F, 0, 63, 63, read_k4<block_q4_K>, write_k4_scales<block_q4_K>},
     write_q4_k},
    {GGML_TYPE_Q5_K,
     32,
     nullptr,
     0,
     {QK_K, sizeof(block_q5_K), 32, 1.0F, 0.0F, 0, 63, 63, read_k4<block_q5_K>, write_k4_scales<block_q5_K>},
     write_q5_k},
    {GGML_TYPE_Q6_K,
     64,
     nullptr,
     -32,
     {QK_K, sizeof(block_q6_K), 16, 1.0F, 0.0F, -128, 127, 0, read_q6_k, write_q6_k_scales},
     write_q6_k},
    {GGML_TYPE_IQ4_XS,
     16,
     kvalues_iq4nl,
     0,
     {QK_K, sizeof(block_iq4_xs), 32, 1.0F, -32.0F, 0, 63, 0, read_iq4_xs, write_iq4_xs_scales},
     write_iq4_xs},
}};

}  // namespace

const ScalarFormat * scalar_format(int32_t ggml_type) {
    const auto found =
        std::find_if(kFormats.begin(), kFormats.end(), [&](const ScalarFormat & f) { return f.type == ggml_type; });
    return found == kFormats.end() ? nullptr : &*found;
}

}  // namespace edgemoe
