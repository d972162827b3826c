// A pack report for programs.
#pragma once

#include "engine/pack.h"

#include <string>

namespace edgemoe {

// One JSON object; docs/bit-widths.md lists its keys.
std::string to_json(const PackReport & report);

}  // namespace edgemoe
