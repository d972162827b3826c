// Rows side by side: rounding works on panels of rows, transposed, so that inner loops run over rows and every step is
// a vector instruction.
#pragma once

#include <cstdint>

namespace edgemoe {

// Rows of one vector.
constexpr int64_t kVector = 16;
// Rows of the widest panel: each product with the metric packs it anew, which more rows share.
constexpr int64_t kMostLanes = 256;
static_assert(kMostLanes % kVector == 0);

// Lanes of each panel of a matrix of n_rows rows, whole vectors: as few as make no more panels. Results depend on it,
// so it does not depend on how panels are shared out over threads. REQUIRES: n_rows >= 1.
inline int64_t panel_lanes(int64_t n_rows) {
    const int64_t n_panels = (n_rows + kMostLanes - 1) / kMostLanes;
    const int64_t rows = (n_rows + n_panels - 1) / n_panels;
    return (rows + kVector - 1) / kVector * kVector;
}

}  // namespace edgemoe
