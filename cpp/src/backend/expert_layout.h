// How an expert's matrix lies in a slot: as in the file, or interleaved for the machine's kernels (ggml's CPU_REPACK
// buffer type), whichever llama.cpp itself would choose, so that an expert costs what it costs in llama.cpp and gives
// the same bits.
#pragma once

#include "store/expert_store.h"

#include "ggml-backend.h"

#include <map>
#include <memory>
#include <set>
#include <tuple>
#include <utility>

namespace edgemoe {

// Thread-safe after construction.
class ExpertLayout : public RowConverter {
public:
    // kAsInFile leaves every matrix as it is, for kernels that take it so: what an engine needs that reads in place.
    enum class Choice { kAsLlamaCpp, kAsInFile };

    // Decides for every matrix of `index`, which outlives the object.
    explicit ExpertLayout(const ExpertIndex & index, Choice choice = Choice::kAsLlamaCpp);
    ~ExpertLayout() override;

    void convert(const ExpertPart & part, int64_t first_row, int64_t n_rows, const std::byte * source,
                 std::byte * destination) const override;

    // Fills in `tensor` as rows [first_row, first_row + n_rows) of `part`, whose converted matrix begins at `matrix`:
    // [columns, n_rows, 1], not part of any context, valid while the matrix and this object are. REQUIRES: first_row is
    // a multiple of kRowGroup.
    void describe(const ExpertPart & part, const std::byte * matrix, int64_t first_row, int64_t n_rows,
                  ggml_tensor * tensor) const;

    // True if several inputs of `part` may be multiplied by ggml's MUL_MAT at once, with the bits of its MUL_MAT_ID.
    bool batch_is_exact(const ExpertPart & part) const;

    // True if any matrix is interleaved.
    bool repacks() const { return !interleaved_.empty(); }

private:
    using Shape = std::tuple<int32_t, int64_t, int64_t>;  // type, columns, rows

    void find_out_batches(const ExpertPart & part);
    ggml_backend_buffer_t buffer_for(const ExpertPart & part) const;

    ggml_backend_buffer_t plain_ = nullptr;                // an empty buffer of the CPU's type
    std::map<Shape, ggml_backend_buffer_t> interleaved_;   // shapes that ggml repacks, and an empty buffer of that type
    std::set<std::pair<int32_t, int64_t>> batches_tried_;  // type, columns
    std::set<std::pair<int32_t, int64_t>> exact_batches_;  // of these
};

}  // namespace edgemoe
