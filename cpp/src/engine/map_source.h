// Which maps a model is to be loaded with.
#pragma once

#include "base/status.h"
#include "engine/expert_maps.h"
#include "engine/gguf_source.h"
#include "engine/load_options.h"

namespace edgemoe {

// Those of options.profile; without one, of the packed file; without any, untrained ones if experts are read ahead.
// Empty where experts are not streamed. kInvalidArgument for a profile of another model, else as read_maps() and
// untrained_maps().
Result<ExpertMaps> maps_for(const GgufSource & source, const LoadOptions & options, MapContent content);

}  // namespace edgemoe
