// How fast this machine multiplies with each quantization type.
#pragma once

#include "base/status.h"

#include <cstdint>
#include <vector>

namespace edgemoe {

// Nanoseconds a weight takes on one thread when one token's vector is multiplied with matrices [rows, columns] of
// `type` by ggml's MUL_MAT_ID, as in decode; the least of a few runs, weights in memory, not in a cache. kUnsupported
// for a type that cannot be multiplied with or whose blocks do not divide `columns`. Takes some 10 ms.
Result<double> kernel_ns_per_weight(int32_t type, int64_t columns, int64_t rows);

}  // namespace edgemoe
