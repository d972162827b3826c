#include "engine/input_rounding.h"

#include "ggml-cpu.h"
#include "ggml.h"

#define GGML_COMMON_DECL_CPP
#include "ggml-common.h"

#include <cstddef>
#include <cstring>

namespace edgemoe {

namespace {

// ggml has none for Q8_K, which no file has.
void dequantize_q8_k(const std::byte * blocks, float * values, int64_t n) {
    for (int64_t begin = 0; begin < n; begin += QK_K) {
        block_q8_K block;
        std::memcpy(&block, blocks + static_cast<size_t>(begin / QK_K) * sizeof(block), sizeof(block));
        for (int64_t i = 0; i < QK_K; i++) {
            values[begin + i] = block.d * static_cast<float>(block.qs[i]);
        }
    }
}

}  // namespace

int32_t input_type_of(int32_t type) {
    return ggml_get_type_traits_cpu(static_cast<ggml_type>(type))->vec_dot_type;
}

void add_input_rounding(int32_t input_type, const float * inputs, const float * weights, int64_t n, int64_t columns,
                        std::vector<double> * sums) {
    const auto type = static_cast<ggml_type>(input_type);
    const auto round = ggml_get_type_traits_cpu(type)->from_float;
    const auto restore = ggml_get_type_traits(type)->to_float;
    if (round == nullptr || (restore == nullptr && type != GGML_TYPE_Q8_K)) {
        return;
    }
    std::vector<std::byte> blocks(ggml_row_size(type, columns));
    std::vector<float> rounded(static_cast<size_t>(columns));
    for (int64_t token = 0; token < n; token++) {
        const float * row = inputs + token * columns;
        round(row, blocks.data(), columns);
        if (type == GGML_TYPE_Q8_K) {
            dequantize_q8_k(blocks.data(), rounded.data(), columns);
        } else {
            restore(blocks.data(), rounded.data(), columns);
        }
        const auto weight = static_cast<double>(weights[token]);
        for (int64_t c = 0; c < columns; c++) {
            const double error = static_cast<double>(row[c]) - static_cast<double>(rounded[static_cast<size_t>(c)]);
            (*sums)[static_cast<size_t>(c)] += weight * error * error;
        }
    }
}

}  // namespace edgemoe
