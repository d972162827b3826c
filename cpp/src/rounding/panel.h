// Rows side by side: rounding works on panels of kLanes rows, transposed, so that inner loops run over rows and every
// step is a vector instruction.
#pragma once

#include <cstdint>

namespace edgemoe {

// Rows of a panel. Fixed, so that results do not depend on how panels are shared out over threads.
constexpr int64_t kLanes = 64;

}  // namespace edgemoe
