// The policies by name. The order of the table is the order in which they are listed to users.
#include "cache/eviction_policy.h"

#include "cache/policies.h"

#include <array>

namespace edgemoe {
namespace {

struct NamedPolicy {
    const char * name;
    std::unique_ptr<EvictionPolicy> (*make)(PolicyShape shape);
};

constexpr std::array kPolicies = {
    NamedPolicy{kDefaultPolicyAlias, make_two_timescale_policy},
    NamedPolicy{"lru", make_lru_policy},
    NamedPolicy{"lfu", make_lfu_policy},
    NamedPolicy{"decayed-frequency", make_decayed_frequency_policy},
    NamedPolicy{"frequency-distance", make_frequency_distance_policy},
    NamedPolicy{"two-timescale", make_two_timescale_policy},
    NamedPolicy{"next-use", make_next_use_policy},
};

}  // namespace

Result<std::unique_ptr<EvictionPolicy>> make_eviction_policy(const std::string & name, PolicyShape shape) {
    std::string known;
    for (const NamedPolicy & policy : kPolicies) {
        if (name == policy.name) {
            return policy.make(shape);
        }
        known += (known.empty() ? "" : ", ") + std::string(policy.name);
    }
    return Status(StatusCode::kInvalidArgument, "eviction policy '" + name + "' is unknown; choose one of " + known);
}

std::vector<std::string> eviction_policy_names() {
    std::vector<std::string> names;
    for (const NamedPolicy & policy : kPolicies) {
        names.emplace_back(policy.name);
    }
    return names;
}

}  // namespace edgemoe
