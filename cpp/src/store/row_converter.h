// What is done with rows of a matrix when they arrive.
#pragma once

#include "storage/expert_index.h"

#include <cstddef>
#include <cstdint>

namespace edgemoe {

// A copy, or an interleaving for the machine's kernels. Thread-safe: called from any thread, for different rows at the
// same time.
class RowConverter {
public:
    virtual ~RowConverter() = default;
    // `source` holds `n_rows` rows from `first_row` of the matrix as in the file; they go to `destination`, the same
    // number of bytes. The store only cuts at multiples of kRowGroup rows.
    virtual void convert(const ExpertPart & part, int64_t first_row, int64_t n_rows, const std::byte * source,
                         std::byte * destination) const = 0;
};
constexpr int64_t kRowGroup = 32;

}  // namespace edgemoe
