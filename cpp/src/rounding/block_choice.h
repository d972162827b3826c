// What a ggml type leaves to choose in its blocks, for a panel of rows: the interface between error feedback, which
// knows no type, and the types, which know no feedback.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

namespace edgemoe {

class BlockScales;

// One thread at a time; one object serves many panels of as many lanes (panel.h) one after the other.
class BlockChoice {
public:
    virtual ~BlockChoice() = default;

    // How many neighbouring columns are chosen together: 1 or 8.
    virtual int64_t group() const = 0;
    virtual BlockScales & scales() = 0;

    // Starts a panel from the scales of n_rows rows of blocks. Returns false if one is not finite. REQUIRES: 1 <=
    // n_rows <= lanes.
    virtual bool open(const std::byte * blocks, int64_t n_rows) = 0;

    // Chooses for the columns [column, column + group) of all rows: what comes nearest to `target` [group][lanes] in
    // the metric C = F F^T, `factor` [group][group] = F, upper triangular with a positive diagonal.
    virtual void choose(int64_t column, const float * target, const float * factor) = 0;
    // The same, starting from what is chosen, so that the result is nowhere worse than that. REQUIRES: choose() was
    // called for the columns.
    virtual void choose_again(int64_t column, const float * target, const float * factor) = 0;

    // Of the columns [column, column + n), as chosen: `levels` [n][lanes]. A weight is scale * level + offset.
    virtual void levels(int64_t column, int64_t n, float * levels) const = 0;

    // Writes scales and what was chosen. REQUIRES: every column was chosen for.
    virtual void close(std::byte * blocks, int64_t n_rows) const = 0;
};

// Returns nullptr if the type is not of that kind. REQUIRES: columns a multiple of the type's block, lanes one of
// kVector.
std::unique_ptr<BlockChoice> make_scalar_choice(int32_t ggml_type, int64_t columns, int64_t lanes);
std::unique_ptr<BlockChoice> make_grid_choice(int32_t ggml_type, int64_t columns, int64_t lanes);

}  // namespace edgemoe
