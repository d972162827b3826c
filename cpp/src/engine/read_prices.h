// What a byte of each expert costs in bytes read per token, where an expert cache of a given size stands before the
// file.
//
// One byte more of expert e is read at each of its misses; and while e is resident, it takes a byte of cache from the
// others. So, to first order,
//     price(e) = misses(e) + residency(e) * pressure
// with misses(e) its misses per token, residency(e) the share of time that it is in the cache, and pressure the bytes
// that a token reads more for each byte that the cache is smaller. Rare experts cost little, experts that stay in the
// cache their room alone. All three come from the profile's routing, replayed token by token through the engine's own
// cache and eviction policy (simulate/replay.h).
#pragma once

#include "base/status.h"
#include "engine/packed_layout.h"
#include "engine/profile.h"
#include "simulate/trace.h"
#include "storage/expert_index.h"

#include <cstdint>
#include <vector>

namespace edgemoe {

// By position in ExpertIndex::layers(), by expert: bytes read per token for each byte of the expert.
using ReadPrices = std::vector<std::vector<double>>;

// Without a cache: as often as a token uses the expert.
ReadPrices uncached_prices(const Profile & profile, const ExpertIndex & index);

// One thread at a time. The index outlives it.
class ReadSimulation {
public:
    // Replays at most kMostTokens of the profile's tokens, from its beginning. REQUIRES: the profile is of this model.
    ReadSimulation(const Profile & profile, const ExpertIndex & index);
    static constexpr size_t kMostTokens = 16384;

    // Bytes read per token, as they lie in a packed file, where the experts have these types and the cache holds
    // `cache_bytes` of them.
    Result<double> read_bytes_per_token(const PackedTypes & types, uint64_t cache_bytes);
    // What another size of an expert would change in that.
    Result<ReadPrices> prices(const PackedTypes & types, uint64_t cache_bytes);

private:
    struct Traffic {
        ReadPrices misses;     // per token
        ReadPrices residency;  // shares of the tokens
        double read_bytes_per_token = 0;
    };
    Result<Traffic> replay(const PackedTypes & types, uint64_t cache_bytes);

    const ExpertIndex & index_;
    RoutingTrace trace_;
};

}  // namespace edgemoe
