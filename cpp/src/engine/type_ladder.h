// The ggml types among which an expert's matrix may choose.
#pragma once

#include "base/status.h"

#include <cstdint>
#include <string>
#include <vector>

namespace edgemoe {

// Unless the user says otherwise: all K- and i-quants from 1.75 bits on, Q8_0, and for rows that are no multiple of 256
// types whose blocks are 32 long.
std::vector<int32_t> default_ladder();

// "IQ2_XS,Q4_K,q8_0". kInvalidArgument for a name that no type of this version of ggml has.
Result<std::vector<int32_t>> parse_ladder(const std::string & names);

}  // namespace edgemoe
