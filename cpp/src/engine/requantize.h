// Weights from one ggml type to another, through float32.
#pragma once

#include "base/status.h"

#include <cstddef>
#include <cstdint>
#include <string>

namespace edgemoe {

// The ggml_type of weights that is called `name`, in either case ("q4_K", "Q4_K", "f16"). kInvalidArgument, with the
// names that there are.
Result<int32_t> parse_weight_type(const std::string & name);

// Converts `n_rows` rows of `columns` weights by ggml's own functions, on n_threads threads; the same type is copied.
// Types that want an importance matrix get one of ones. REQUIRES: both are types of weights (parse_weight_type), whose
// blocks divide the rows.
void requantize(int32_t from, const std::byte * source, int32_t to, std::byte * destination, int64_t n_rows,
                int64_t columns, int32_t n_threads);

}  // namespace edgemoe
