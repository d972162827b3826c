// What a packed file says about how it was made.
#pragma once

#include "engine/gguf_key_value.h"
#include "engine/pack_inputs.h"
#include "engine/type_allocator.h"

#include <vector>

namespace edgemoe {

// The entries beside the source's own; docs/packed.md lists them. REQUIRES: inputs.find_sensitivity() has succeeded.
std::vector<GgufKeyValue> pack_metadata(const PackInputs & inputs, const PackOptions & options,
                                        const TypeAllocation & allocation);

}  // namespace edgemoe
