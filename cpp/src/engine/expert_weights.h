// One matrix of an expert as floats.
#pragma once

#include "base/expert_id.h"
#include "base/status.h"
#include "engine/gguf_source.h"

#include <cstddef>
#include <vector>

namespace edgemoe {

// The matrix as it is stored. REQUIRES: the expert has this projection. Thread-safe. kIo, kFormat as File::read().
Result<std::vector<std::byte>> read_expert_blocks(const GgufSource & source, ExpertId id, Projection projection);

// The same, dequantized by ggml: [rows, columns]. kUnsupported for a type that ggml cannot dequantize.
Result<std::vector<float>> read_expert_matrix(const GgufSource & source, ExpertId id, Projection projection);

// A choice of at most `n_most` rows of a matrix of `n_rows`, evenly spaced over it, rising.
std::vector<int64_t> evenly_spaced(int64_t n_rows, int64_t n_most);

// Those rows of [n_rows, columns], together.
std::vector<float> gather_rows(const std::vector<float> & matrix, int64_t columns, const std::vector<int64_t> & rows);

}  // namespace edgemoe
