// Maps in a GGUF file, a profile or a packed file: entries of the header and a tensor for each layer.
#pragma once

#include "base/status.h"
#include "engine/expert_maps.h"
#include "engine/gguf_key_value.h"

#include <cstdint>
#include <string>
#include <vector>

namespace edgemoe {

// Keys of a profile begin so.
constexpr const char * kProfilePrefix = "edgemoe.profile.";

// "blk.LAYER.profile.map": kMapType, [n_columns, n_rows].
std::string map_tensor_name(int32_t layer);
bool is_map_tensor_name(const std::string & name);

// PREFIX and: "map.layers" (i32: block numbers), "map.inputs" (i32: n_input of each), "map.experts" (i32),
// "map.targets" (i32: layer, experts and experts used of each target of each map). Empty for no maps.
std::vector<GgufKeyValue> map_entries(const ExpertMaps & maps, const std::string & prefix);

// Reads nothing but the header and the maps. Empty where the file has none under this prefix. kNotFound, kIo; kFormat
// where they are not as map_entries() describes them.
Result<ExpertMaps> read_maps(const std::string & path, const std::string & prefix,
                             MapContent content = MapContent::kWeights);

}  // namespace edgemoe
