#include "engine/requantize.h"

#include "ggml.h"

#include <algorithm>
#include <cctype>
#include <cstring>
#include <thread>
#include <vector>

namespace edgemoe {

namespace {

// What ggml can read, it can write: types of activations (q8_1, q8_K) have no to_float.
bool is_weight_type(ggml_type type) {
    return type == GGML_TYPE_F32 || ggml_get_type_traits(type)->to_float != nullptr;
}

std::string lower(std::string text) {
    std::transform(text.begin(), text.end(), text.begin(),
                   [](unsigned char letter) { return static_cast<char>(std::tolower(letter)); });
    return text;
}

void convert_rows(ggml_type from, const std::byte * source, ggml_type to, std::byte * destination, int64_t n_rows,
                  int64_t columns, const float * importance) {
    std::vector<float> values(static_cast<size_t>(columns));
    for (int64_t row = 0; row < n_rows; row++) {
        if (from == GGML_TYPE_F32) {
            std::memcpy(values.data(), source, values.size() * sizeof(float));
        } else {
            ggml_get_type_traits(from)->to_float(source, values.data(), columns);
        }
        ggml_quantize_chunk(to, values.data(), destination, 0, 1, columns, importance);
        source += ggml_row_size(from, columns);
        destination += ggml_row_size(to, columns);
    }
}

}  // namespace

Result<int32_t> parse_weight_type(const std::string & name) {
    std::string names;
    for (int i = 0; i < GGML_TYPE_COUNT; i++) {
        const auto type = static_cast<ggml_type>(i);
        if (ggml_blck_size(type) == 0 || !is_weight_type(type)) {
            continue;
        }
        if (lower(ggml_type_name(type)) == lower(name)) {
            return i;
        }
        names += (names.empty() ? "" : ", ") + std::string(ggml_type_name(type));
    }
    return Status(StatusCode::kInvalidArgument, "no type of weights is called \"" + name + "\"; there are " + names);
}

void requantize(int32_t from, const std::byte * source, int32_t to, std::byte * destination, int64_t n_rows,
                int64_t columns, int32_t n_threads) {
    const auto from_type = static_cast<ggml_type>(from);
    const auto to_type = static_cast<ggml_type>(to);
    if (from == to) {
        std::memcpy(destination, source, ggml_row_size(to_type, columns) * static_cast<size_t>(n_rows));
        return;
    }
    const std::vector<float> ones(static_cast<size_t>(columns), 1.0F);
    const float * importance = ggml_quantize_requires_imatrix(to_type) ? ones.data() : nullptr;
    const int64_t share = (n_rows + n_threads - 1) / n_threads;
    std::vector<std::thread> threads;
    for (int64_t first = 0; first < n_rows; first += share) {
        threads.emplace_back(convert_rows, from_type, source + ggml_row_size(from_type, columns) * first, to_type,
                             destination + ggml_row_size(to_type, columns) * first, std::min(share, n_rows - first),
                             columns, importance);
    }
    for (std::thread & thread : threads) {
        thread.join();
    }
}

}  // namespace edgemoe
