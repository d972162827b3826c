#include "engine/expert_weights.h"

#include "storage/direct_read.h"

#include "ggml.h"

#include <algorithm>
#include <string>

namespace edgemoe {

Result<std::vector<std::byte>> read_expert_blocks(const GgufSource & source, ExpertId id, Projection projection) {
    const ExpertPart & part = source.experts().parts(id)[static_cast<size_t>(projection)];
    std::vector<std::byte> blocks(part.bytes);
    Status status = read_past_page_cache(*source.files()[part.file], part.offset, blocks.size(), blocks.data());
    if (!status.is_ok()) {
        return status;
    }
    return blocks;
}

Result<std::vector<float>> read_expert_matrix(const GgufSource & source, ExpertId id, Projection projection) {
    const ExpertPart & part = source.experts().parts(id)[static_cast<size_t>(projection)];
    Result<std::vector<std::byte>> blocks = read_expert_blocks(source, id, projection);
    if (!blocks.is_ok()) {
        return blocks.status();
    }
    const auto type = static_cast<ggml_type>(part.type);
    std::vector<float> matrix(static_cast<size_t>(part.rows * part.columns));
    if (type == GGML_TYPE_F32) {
        std::copy_n(reinterpret_cast<const float *>(blocks.value().data()), matrix.size(), matrix.data());
        return matrix;
    }
    const ggml_to_float_t to_float = ggml_get_type_traits(type)->to_float;
    if (to_float == nullptr) {
        return Status(StatusCode::kUnsupported, source.path() + ": experts of type " + ggml_type_name(type) +
                                                    " cannot be converted to floats by this version of ggml");
    }
    to_float(blocks.value().data(), matrix.data(), static_cast<int64_t>(matrix.size()));
    return matrix;
}

std::vector<int64_t> evenly_spaced(int64_t n_rows, int64_t n_most) {
    const int64_t n = std::min(n_rows, n_most);
    std::vector<int64_t> rows;
    for (int64_t i = 0; i < n; i++) {
        rows.push_back((2 * i + 1) * n_rows / (2 * n));
    }
    return rows;
}

std::vector<float> gather_rows(const std::vector<float> & matrix, int64_t columns, const std::vector<int64_t> & rows) {
    std::vector<float> gathered(rows.size() * static_cast<size_t>(columns));
    for (size_t i = 0; i < rows.size(); i++) {
        std::copy_n(matrix.begin() + rows[i] * columns, columns, gathered.begin() + static_cast<int64_t>(i) * columns);
    }
    return gathered;
}

}  // namespace edgemoe
