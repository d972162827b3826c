// Matrices, inputs and types that the tests of error-feedback rounding share. Everything is made from fixed seeds.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

#include "ggml.h"
#include "rounding/input_moments.h"

namespace edgemoe::test {

inline std::vector<int32_t> scalar_types() {
    return {GGML_TYPE_Q4_0, GGML_TYPE_Q5_0, GGML_TYPE_Q8_0, GGML_TYPE_IQ4_NL, GGML_TYPE_Q2_K,
            GGML_TYPE_Q3_K, GGML_TYPE_Q4_K, GGML_TYPE_Q5_K, GGML_TYPE_Q6_K,   GGML_TYPE_IQ4_XS};
}

inline std::vector<int32_t> grid_types() {
    return {GGML_TYPE_IQ2_XXS, GGML_TYPE_IQ2_XS, GGML_TYPE_IQ2_S, GGML_TYPE_IQ3_XXS, GGML_TYPE_IQ3_S};
}

inline std::vector<int32_t> all_types() {
    std::vector<int32_t> types = scalar_types();
    for (const int32_t type : grid_types()) {
        types.push_back(type);
    }
    return types;
}

inline std::vector<float> random_values(int64_t n, float deviation, uint32_t seed) {
    std::mt19937 generator(seed);
    std::normal_distribution<float> normal(0.0F, deviation);
    std::vector<float> values(static_cast<size_t>(n));
    for (float & value : values) {
        value = normal(generator);
    }
    return values;
}

// Inputs [n, columns] as layers see them: a few directions that all columns share, columns of different strength, and
// noise.
inline std::vector<float> correlated_inputs(int64_t n, int64_t columns, uint32_t seed) {
    constexpr int64_t kDirections = 24;
    const std::vector<float> directions = random_values(kDirections * columns, 1.0F, seed);
    const std::vector<float> strengths = random_values(n * kDirections, 1.0F, seed + 1);
    const std::vector<float> logarithms = random_values(columns, 0.5F, seed + 2);
    std::vector<float> inputs = random_values(n * columns, 1.0F, seed + 3);
    for (int64_t i = 0; i < n; ++i) {
        for (int64_t j = 0; j < columns; ++j) {
            float & input = inputs[static_cast<size_t>(i * columns + j)];
            for (int64_t k = 0; k < kDirections; ++k) {
                input += strengths[static_cast<size_t>(i * kDirections + k)] *
                         directions[static_cast<size_t>(k * columns + j)];
            }
            input *= std::exp(logarithms[static_cast<size_t>(j)]);
        }
    }
    return inputs;
}

inline InputMoments moments_of(const std::vector<float> & inputs, int64_t columns) {
    const int64_t n = static_cast<int64_t>(inputs.size()) / columns;
    InputMoments moments(columns);
    moments.add(inputs.data(), std::vector<float>(static_cast<size_t>(n), 1.0F).data(), n, 1);
    return moments;
}

inline InputMoments identity_moments(int64_t columns) {
    std::vector<float> inputs(static_cast<size_t>(columns * columns));
    for (int64_t i = 0; i < columns; ++i) {
        inputs[static_cast<size_t>(i * columns + i)] = 1.0F;
    }
    return moments_of(inputs, columns);
}

inline std::vector<std::byte> space_for(int32_t type, int64_t n_rows, int64_t columns) {
    return std::vector<std::byte>(ggml_row_size(static_cast<ggml_type>(type), columns) * static_cast<size_t>(n_rows));
}

inline std::vector<float> dequantized(int32_t type, const std::vector<std::byte> & blocks, int64_t n_rows,
                                      int64_t columns) {
    std::vector<float> values(static_cast<size_t>(n_rows * columns));
    ggml_get_type_traits(static_cast<ggml_type>(type))->to_float(blocks.data(), values.data(), n_rows * columns);
    return values;
}

inline const char * name_of(int32_t type) {
    return ggml_type_name(static_cast<ggml_type>(type));
}

}  // namespace edgemoe::test
