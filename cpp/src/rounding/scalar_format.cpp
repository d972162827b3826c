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

float to_float(ggml_half value) {
    return ggml_fp16_to_fp32(value);
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

void read_q4_0(const std::byte * bytes, float * scales, float * offsets) {
    scales[0] = to_float(load_block<block_q4_0>(bytes).d);
    offsets[0] = -8.0F * scales[0];
}

void write_q4_0(const uint8_t * codes, std::byte * bytes) {
    auto block = load_block<block_q4_0>(bytes);
    write_nibbles(codes, QK4_0 / 2, block.qs);
    store_block(block, bytes);
}

void read_q5_0(const std::byte * bytes, float * scales, float * offsets) {
    scales[0] = to_float(load_block<block_q5_0>(bytes).d);
    offsets[0] = -16.0F * scales[0];
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

void read_q8_0(const std::byte * bytes, float * scales, float * offsets) {
    scales[0] = to_float(load_block<block_q8_0>(bytes).d);
    offsets[0] = -127.0F * scales[0];
}

void write_q8_0(const uint8_t * codes, std::byte * bytes) {
    auto block = load_block<block_q8_0>(bytes);
    for (int i = 0; i < QK8_0; ++i) {
        block.qs[i] = static_cast<int8_t>(codes[i] - 127);
    }
    store_block(block, bytes);
}

void read_q2_k(const std::byte * bytes, float * scales, float * offsets) {
    const auto block = load_block<block_q2_K>(bytes);
    const float d = to_float(block.data.data.d);
    const float dmin = to_float(block.data.data.dmin);
    for (int i = 0; i < QK_K / 16; ++i) {
        scales[i] = d * static_cast<float>(block.scales[i] & 15);
        offsets[i] = -dmin * static_cast<float>(block.scales[i] >> 4);
    }
}

void write_q2_k(const uint8_t * codes, std::byte * bytes) {
    auto block = load_block<block_q2_K>(bytes);
    write_pairs_of_bits(codes, block.qs);
    store_block(block, bytes);
}

void read_q3_k(const std::byte * bytes, float * scales, float * offsets) {
    const auto block = load_block<block_q3_K>(bytes);
    const float d = to_float(block.d);
    for (int i = 0; i < QK_K / 16; ++i) {
        // 6 bits: the low 4 in nibbles, 8 scales apart; the high 2 in the last four bytes, 4 scales apart.
        const int low = block.scales[i % 8] >> (4 * (i / 8)) & 15;
        const int high = block.scales[8 + i % 4] >> (2 * (i / 4)) & 3;
        scales[i] = d * static_cast<float>((low | high << 4) - 32);
        offsets[i] = -4.0F * scales[i];
    }
}

void write_q3_k(const uint8_t * codes, std::byte * bytes) {
    auto block = load_block<block_q3_K>(bytes);
    write_pairs_of_bits(codes, block.qs);
    write_bit(codes, 2, block.hmask);
    store_block(block, bytes);
}

// Scales and minima of Q4_K and Q5_K, 6 bits each: the first four of both in the low bits of 8 bytes, the others in
// nibbles of the last four bytes and the high bits of the first eight.
void read_k4_scales(const uint8_t * packed, float d, float dmin, float * scales, float * offsets) {
    for (int i = 0; i < 4; ++i) {
        scales[i] = d * static_cast<float>(packed[i] & 63);
        offsets[i] = -dmin * static_cast<float>(packed[i + 4] & 63);
        scales[i + 4] = d * static_cast<float>((packed[i + 8] & 15) | (packed[i] >> 6) << 4);
        offsets[i + 4] = -dmin * static_cast<float>((packed[i + 8] >> 4) | (packed[i + 4] >> 6) << 4);
    }
}

void read_q4_k(const std::byte * bytes, float * scales, float * offsets) {
    const auto block = load_block<block_q4_K>(bytes);
    read_k4_scales(block.scales, to_float(block.data.data.d), to_float(block.data.data.dmin), scales, offsets);
}

void write_q4_k(const uint8_t * codes, std::byte * bytes) {
    auto block = load_block<block_q4_K>(bytes);
    for (int64_t i = 0; i < 4; ++i) {
        write_nibbles(codes + 64 * i, 32, block.qs + 32 * i);
    }
    store_block(block, bytes);
}

void read_q5_k(const std::byte * bytes, float * scales, float * offsets) {
    const auto block = load_block<block_q5_K>(bytes);
    read_k4_scales(block.scales, to_float(block.data.data.d), to_float(block.data.data.dmin), scales, offsets);
}

void write_q5_k(const uint8_t * codes, std::byte * bytes) {
    auto block = load_block<block_q5_K>(bytes);
    for (int64_t i = 0; i < 4; ++i) {
        write_nibbles(codes + 64 * i, 32, block.qs + 32 * i);
    }
    write_bit(codes, 4, block.qh);
    store_block(block, bytes);
}

void read_q6_k(const std::byte * bytes, float * scales, float * offsets) {
    const auto block = load_block<block_q6_K>(bytes);
    const float d = to_float(block.d);
    for (int i = 0; i < QK_K / 16; ++i) {
        scales[i] = d * static_cast<float>(block.scales[i]);
        offsets[i] = -32.0F * scales[i];
    }
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

void read_iq4_nl(const std::byte * bytes, float * scales, float * offsets) {
    scales[0] = to_float(load_block<block_iq4_nl>(bytes).d);
    offsets[0] = 0.0F;
}

void write_iq4_nl(const uint8_t * codes, std::byte * bytes) {
    auto block = load_block<block_iq4_nl>(bytes);
    write_nibbles(codes, QK4_NL / 2, block.qs);
    store_block(block, bytes);
}

void read_iq4_xs(const std::byte * bytes, float * scales, float * offsets) {
    const auto block = load_block<block_iq4_xs>(bytes);
    const float d = to_float(block.d);
    for (int i = 0; i < QK_K / 32; ++i) {
        const int low = block.scales_l[i / 2] >> (4 * (i % 2)) & 15;
        const int high = block.scales_h >> (2 * i) & 3;
        scales[i] = d * static_cast<float>((low | high << 4) - 32);
        offsets[i] = 0.0F;
    }
}

void write_iq4_xs(const uint8_t * codes, std::byte * bytes) {
    auto block = load_block<block_iq4_xs>(bytes);
    for (int64_t i = 0; i < QK_K / 32; ++i) {
        write_nibbles(codes + 32 * i, 16, block.qs + 16 * i);
    }
    store_block(block, bytes);
}

const std::array<ScalarFormat, 10> kFormats = {{
    {GGML_TYPE_Q4_0, QK4_0, QK4_0, 16, nullptr, read_q4_0, write_q4_0},
    {GGML_TYPE_Q5_0, QK5_0, QK5_0, 32, nullptr, read_q5_0, write_q5_0},
    {GGML_TYPE_Q8_0, QK8_0, QK8_0, 255, nullptr, read_q8_0, write_q8_0},
    {GGML_TYPE_Q2_K, QK_K, 16, 4, nullptr, read_q2_k, write_q2_k},
    {GGML_TYPE_Q3_K, QK_K, 16, 8, nullptr, read_q3_k, write_q3_k},
    {GGML_TYPE_Q4_K, QK_K, 32, 16, nullptr, read_q4_k, write_q4_k},
    {GGML_TYPE_Q5_K, QK_K, 32, 32, nullptr, read_q5_k, write_q5_k},
    {GGML_TYPE_Q6_K, QK_K, 16, 64, nullptr, read_q6_k, write_q6_k},
    {GGML_TYPE_IQ4_NL, QK4_NL, QK4_NL, 16, kvalues_iq4nl, read_iq4_nl, write_iq4_nl},
    {GGML_TYPE_IQ4_XS, QK_K, 32, 16, kvalues_iq4nl, read_iq4_xs, write_iq4_xs},
}};

}  // namespace

const ScalarFormat * scalar_format(int32_t ggml_type) {
    const auto found =
        std::find_if(kFormats.begin(), kFormats.end(), [&](const ScalarFormat & f) { return f.type == ggml_type; });
    return found == kFormats.end() ? nullptr : &*found;
}

}  // namespace edgemoe
