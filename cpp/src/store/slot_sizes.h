// A model's experts as the cache sees them: how many, and how large a slot each takes. Pure functions.
#pragma once

#include "cache/eviction_policy.h"
#include "cache/expert_sizes.h"
#include "storage/expert_index.h"

namespace edgemoe {

PolicyShape policy_shape(const ExpertIndex & index);

// ExpertStore::slot_bytes of every expert, of the shape above.
ExpertSizes slot_sizes(const ExpertIndex & index);

}  // namespace edgemoe
