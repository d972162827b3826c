// Coordinate descent on the error e H e^T itself, from what error feedback chose: every choice is made again with all
// others as they are, and the scales are moved to where the error is least for the choices made. Error feedback looks
// ahead but never back; this looks both ways (as QuantEase, arXiv 2309.01885, and CDQuant, arXiv 2406.17542, do for
// plain grids). No step makes the error larger.
#pragma once

#include <cstdint>
#include <vector>

namespace edgemoe {

class BlockChoice;
class FeedbackFactor;

// Buffers for panels of as many columns as the factor and `lanes` rows, used again for each panel. One thread at a
// time.
class Refinement {
public:
    // `factor` is borrowed.
    Refinement(const FeedbackFactor & factor, int64_t lanes);

    // Goes `n_sweeps` times through all columns of `n_rows` rows of weights [n_rows, columns]. REQUIRES: n_rows <=
    // lanes, `choice` has as many lanes, and all of its columns are chosen.
    void run(const float * weights, int64_t n_rows, int n_sweeps, BlockChoice * choice);

private:
    void start(const float * weights, int64_t n_rows, BlockChoice * choice);
    void sweep_block(int64_t first, int64_t n, BlockChoice * choice);
    void choose_group(int64_t column, int64_t block, int64_t n_block, BlockChoice * choice);
    void move_scale(int64_t column, int64_t block, int64_t n_block, BlockChoice * choice);
    void move_offset(int64_t column, int64_t block, int64_t n_block, BlockChoice * choice);
    void move_block_scale(int64_t block, int64_t n_block, BlockChoice * choice);
    void set_errors(int64_t column, int64_t n, BlockChoice * choice);

    const FeedbackFactor & factor_;
    int64_t lanes_;
    // For each group of columns: F and the inverse of its part of H, [columns][group]; made for the group of the last
    // choice.
    int64_t group_ = 0;
    std::vector<float> own_factors_;
    std::vector<float> own_inverses_;
    // [columns][lanes], in the matrix's order: weights; w - q; H (w - q), up to date for the block at hand; changes of
    // w - q in that block.
    std::vector<float> weights_;
    std::vector<float> errors_;
    std::vector<float> pulls_;
    std::vector<float> changes_;
    std::vector<float> levels_;
};

}  // namespace edgemoe
