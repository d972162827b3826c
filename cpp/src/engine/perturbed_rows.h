// Converts the rows of experts as the layout does, but for matrices that are to be other than in the file.
#pragma once

#include "base/expert_id.h"
#include "base/status.h"
#include "store/expert_store.h"

#include <unordered_map>
#include <vector>

namespace edgemoe {

// convert() is thread-safe; the rest is for one thread, while nothing is converted.
class PerturbedRows : public RowConverter {
public:
    // Both outlive it.
    PerturbedRows(const ExpertIndex & index, const RowConverter & layout) : index_(index), layout_(layout) {}

    void convert(const ExpertPart & part, int64_t first_row, int64_t n_rows, const std::byte * source,
                 std::byte * destination) const override;

    void clear() { changes_.clear(); }
    void swap_changes(PerturbedRows & other) { changes_.swap(other.changes_); }
    // As PerturbedModel's, for one expert.
    Status quantize(ExpertId id, Projection projection, int32_t type, const std::vector<float> & importance);
    Status replace(ExpertId id, Projection projection, int32_t type, const std::byte * blocks, size_t bytes);

    const ExpertIndex & index() const { return index_; }

private:
    struct Change {
        int32_t type = 0;
        std::vector<float> importance;  // for quantizing
        std::vector<std::byte> blocks;  // empty: quantize the file's
    };

    Result<const ExpertPart *> find(ExpertId id, Projection projection, int32_t type) const;

    const ExpertIndex & index_;
    const RowConverter & layout_;
    std::unordered_map<const ExpertPart *, Change> changes_;  // by the index's own part, as the store hands it out
};

}  // namespace edgemoe
