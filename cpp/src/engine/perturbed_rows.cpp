#include "engine/perturbed_rows.h"

#include "ggml.h"

#include <algorithm>
#include <string>

namespace edgemoe {

namespace {

void to_floats(int32_t type, const std::byte * rows, float * values, int64_t n) {
    if (type == GGML_TYPE_F32) {
        std::copy_n(reinterpret_cast<const float *>(rows), n, values);
    } else {
        ggml_get_type_traits(static_cast<ggml_type>(type))->to_float(rows, values, n);
    }
}

// Some types cannot be quantized to without an importance matrix.
void from_floats(int32_t type, const float * values, int64_t n_rows, int64_t columns,
                 const std::vector<float> & importance, std::vector<std::byte> * rows) {
    const auto kind = static_cast<ggml_type>(type);
    const std::vector<float> even(importance.empty() ? static_cast<size_t>(columns) : 0, 1.0f);
    const float * given = importance.empty() ? nullptr : importance.data();
    rows->resize(static_cast<size_t>(n_rows) * ggml_row_size(kind, columns));
    ggml_quantize_chunk(kind, values, rows->data(), 0, n_rows, columns,
                        given == nullptr && ggml_quantize_requires_imatrix(kind) ? even.data() : given);
}

}  // namespace

Result<const ExpertPart *> PerturbedRows::find(ExpertId id, Projection projection, int32_t type) const {
    const std::string name =
        "blk." + std::to_string(id.layer) + " expert " + std::to_string(id.expert) + " " + projection_name(projection);
    const ExpertParts * parts = index_.find(id);
    if (parts == nullptr || !(*parts)[static_cast<size_t>(projection)].present) {
        return Status(StatusCode::kNotFound, name + ": the model has no such matrix");
    }
    const ExpertPart & part = (*parts)[static_cast<size_t>(projection)];
    if (type < 0 || type >= GGML_TYPE_COUNT || ggml_blck_size(static_cast<ggml_type>(type)) == 0 ||
        ggml_row_size(static_cast<ggml_type>(type), 1) == SIZE_MAX) {
        return Status(StatusCode::kInvalidArgument, name + ": there is no ggml type " + std::to_string(type));
    }
    const auto kind = static_cast<ggml_type>(type);
    if (part.columns % ggml_blck_size(kind) != 0) {
        return Status(StatusCode::kInvalidArgument, name + ": " + std::to_string(part.columns) +
                                                        " columns are no multiple of " + ggml_type_name(kind) +
                                                        "'s blocks of " + std::to_string(ggml_blck_size(kind)));
    }
    if (kind != GGML_TYPE_F32 && ggml_get_type_traits(kind)->to_float == nullptr) {
        return Status(StatusCode::kInvalidArgument, name + ": ggml does not decode " + ggml_type_name(kind));
    }
    return &part;
}

Status PerturbedRows::quantize(ExpertId id, Projection projection, int32_t type,
                               const std::vector<float> & importance) {
    const Result<const ExpertPart *> part = find(id, projection, type);
    if (!part.is_ok()) {
        return part.status();
    }
    if (!importance.empty() && importance.size() != static_cast<size_t>(part.value()->columns)) {
        return Status(StatusCode::kInvalidArgument, "importance has " + std::to_string(importance.size()) +
                                                        " numbers for " + std::to_string(part.value()->columns) +
                                                        " columns");
    }
    ggml_quantize_init(static_cast<ggml_type>(type));
    ggml_quantize_init(static_cast<ggml_type>(part.value()->type));
    changes_[part.value()] = {type, importance, {}};
    return Status::ok();
}

Status PerturbedRows::replace(ExpertId id, Projection projection, int32_t type, const std::byte * blocks,
                              size_t bytes) {
    const Result<const ExpertPart *> part = find(id, projection, type);
    if (!part.is_ok()) {
        return part.status();
    }
    const size_t wanted =
        static_cast<size_t>(part.value()->rows) * ggml_row_size(static_cast<ggml_type>(type), part.value()->columns);
    if (bytes != wanted) {
        return Status(StatusCode::kInvalidArgument,
                      std::to_string(bytes) + " bytes given for a matrix of " + std::to_string(wanted) + " bytes");
    }
    ggml_quantize_init(static_cast<ggml_type>(part.value()->type));
    changes_[part.value()] = {type, {}, std::vector<std::byte>(blocks, blocks + bytes)};
    return Status::ok();
}

void PerturbedRows::convert(const ExpertPart & part, int64_t first_row, int64_t n_rows, const std::byte * source,
                            std::byte * destination) const {
    const auto found = changes_.find(&part);
    if (found == changes_.end()) {
        layout_.convert(part, first_row, n_rows, source, destination);
        return;
    }
    const Change & change = found->second;
    std::vector<float> values(static_cast<size_t>(n_rows * part.columns));
    std::vector<std::byte> rows;
    if (change.blocks.empty()) {
        to_floats(part.type, source, values.data(), n_rows * part.columns);
        from_floats(change.type, values.data(), n_rows, part.columns, change.importance, &rows);
        to_floats(change.type, rows.data(), values.data(), n_rows * part.columns);
    } else {
        const size_t row_bytes = ggml_row_size(static_cast<ggml_type>(change.type), part.columns);
        to_floats(change.type, change.blocks.data() + static_cast<size_t>(first_row) * row_bytes, values.data(),
                  n_rows * part.columns);
    }
    from_floats(part.type, values.data(), n_rows, part.columns, {}, &rows);
    layout_.convert(part, first_row, n_rows, rows.data(), destination);
}

}  // namespace edgemoe
