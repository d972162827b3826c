// Exhaustive search of a grid of vectors, for a panel of rows at once.
//
// With signs s fixed, a vector g costs (t - s g) C (t - s g)^T = constant + sum over i of g_i^2 C_ii + sum over i < j
// of g_i g_j (2 C_ij s_i s_j)
// - sum over i of g_i (2 s_i (C t)_i): a product of the grid's squares, pairs and values with numbers that differ from
// row to row. The first sum is the same for all rows.
#pragma once

#include <cstdint>
#include <vector>

namespace edgemoe {

// One thread at a time.
class GridSearch {
public:
    static constexpr int64_t kMostColumns = 8;

    // `vectors`: magnitudes [n_vectors][columns]. REQUIRES: n_vectors a multiple of 4, columns <= kMostColumns.
    GridSearch(const uint8_t * vectors, int32_t n_vectors, int64_t columns, int64_t lanes);

    // Finds the cheapest vector of each lane: sets `indices` [lanes] and `magnitudes` [columns][lanes]. `metric`
    // [columns][columns] = C, rows `metric_stride` apart; `signs` [columns][lanes], 1 or -1; `pull` [columns][lanes]
    // = (C t)_i. Targets are in units of the scale.
    void find(const float * metric, int64_t metric_stride, const float * signs, const float * pull, uint16_t * indices,
              float * magnitudes);

private:
    int64_t lanes_;
    int64_t n_vectors_;
    int64_t columns_;
    int64_t n_features_;
    // [n_vectors][columns]
    std::vector<float> vectors_;
    // [n_vectors / 4][n_features][4]: pairs, then values.
    std::vector<float> features_;
    // [columns][n_vectors], and what they come to in the metric at hand.
    std::vector<float> squares_;
    std::vector<float> base_cost_;
};

}  // namespace edgemoe
