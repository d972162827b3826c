// The factories behind make_eviction_policy: one per policy file, each file described by its own head comment.
#pragma once

#include "cache/eviction_policy.h"

#include <memory>

namespace edgemoe {

std::unique_ptr<EvictionPolicy> make_lru_policy(PolicyShape shape);
std::unique_ptr<EvictionPolicy> make_lfu_policy(PolicyShape shape);
std::unique_ptr<EvictionPolicy> make_decayed_frequency_policy(PolicyShape shape);
std::unique_ptr<EvictionPolicy> make_frequency_distance_policy(PolicyShape shape);
std::unique_ptr<EvictionPolicy> make_two_timescale_policy(PolicyShape shape);
std::unique_ptr<EvictionPolicy> make_next_use_policy(PolicyShape shape);

}  // namespace edgemoe
