// Which experts have a place in the arena, and where. Bookkeeping only: no memory, no I/O, no threads.
//
// The arena is a range of `budget_bytes` bytes. A slot is a part of it that belongs to one expert; slots have different
// sizes. Free space is found by best fit and freed neighbours are merged. A pinned slot is never a victim and never
// moves. Invariants (check_invariants): slots and free ranges tile the arena without overlap; slots' bytes plus free
// bytes equal the budget; every slot is known to the policy. Not thread-safe: guarded by the store's mutex.
#pragma once

#include "base/expert_id.h"
#include "cache/eviction_policy.h"

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <unordered_map>
#include <utility>
#include <vector>

namespace edgemoe {

class ExpertCache {
public:
    // Slots begin at, and have sizes of, multiples of this many bytes.
    static constexpr uint64_t kGranularity = 64;

    ExpertCache(uint64_t budget_bytes, std::unique_ptr<EvictionPolicy> policy);
    ~ExpertCache();
    ExpertCache(const ExpertCache &) = delete;
    ExpertCache & operator=(const ExpertCache &) = delete;

    bool contains(ExpertId id) const;
    // REQUIRES: contains(id). Bytes from the start of the arena; stays the same while the expert is in the cache.
    uint64_t offset(ExpertId id) const;

    // The router chose `id`; tells the policy. Independent of residency.
    void record_use(ExpertId id, PolicyTime now, ExpertUse use = {});

    // Gives `id` a slot of `bytes` bytes, evicting unpinned experts as the policy says; those are appended to *evicted.
    // Returns false, with what was evicted up to then in *evicted, when the pinned slots leave no room. The new slot is
    // not pinned. REQUIRES: !contains(id), bytes > 0.
    [[nodiscard]] bool insert(ExpertId id, uint64_t bytes, PolicyTime now, std::vector<ExpertId> * evicted);

    // Gives up the slot (a failed read, a shrinking budget). REQUIRES: contains(id), not pinned.
    void remove(ExpertId id);

    // Pins are counted. REQUIRES: contains(id); for unpin, a pin.
    void pin(ExpertId id);
    void unpin(ExpertId id);

    uint64_t budget_bytes() const { return budget_bytes_; }
    uint64_t used_bytes() const { return used_bytes_; }  // bytes of slots
    size_t size() const { return slots_.size(); }
    const char * policy_name() const { return policy_->name(); }

    // Empty when all is well, otherwise what is broken. For tests and the fuzzer; O(n log n).
    std::string check_invariants() const;

private:
    struct Slot {
        uint64_t offset = 0;
        uint64_t bytes = 0;
        int pins = 0;
    };
    class Unpinned;

    bool take_free_range(uint64_t bytes, uint64_t * offset);
    void give_free_range(uint64_t offset, uint64_t bytes);

    uint64_t budget_bytes_;
    uint64_t used_bytes_ = 0;
    std::unique_ptr<EvictionPolicy> policy_;
    std::unordered_map<ExpertId, Slot, ExpertIdHash> slots_;
    std::map<uint64_t, uint64_t> free_by_offset_;           // offset -> bytes
    std::set<std::pair<uint64_t, uint64_t>> free_by_size_;  // (bytes, offset)
};

}  // namespace edgemoe
