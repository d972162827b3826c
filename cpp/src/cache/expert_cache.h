// Which experts have a place in the arena, and where. Bookkeeping only: no memory, no I/O, no threads.
//
// The arena is a range of `budget_bytes` bytes. An expert's slot is a range for each of its matrices; an expert comes
// and goes as a whole. Where a free range holds the whole slot, the matrices lie side by side in it, so that experts of
// one size leave no holes; otherwise each matrix takes the free range that fits it best. A pinned slot is never a
// victim, and no slot moves.
//
// An expert may also pass through: it is then the first to leave, before the policy is asked, and all of these together
// stay below a limit.
//
// After the first use of each expert and free range nothing is allocated. Not thread-safe: guarded by the store's
// mutex.
#pragma once

#include "base/expert_id.h"
#include "cache/eviction_policy.h"
#include "cache/range_allocator.h"
#include "cache/streaming_rule.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace edgemoe {

// Bytes of each matrix of an expert, by Projection; 0: it has no such matrix.
using MatrixBytes = std::array<uint64_t, kProjectionCount>;

class ExpertCache {
public:
    // Matrices begin at, and take, multiples of this many bytes.
    static constexpr uint64_t kGranularity = 64;

    enum class Placement {
        kArena,    // slots are ranges of the arena
        kCounted,  // slots lie elsewhere: their bytes are counted, and there is no offset()
    };

    // `shape` is the policy's.
    ExpertCache(uint64_t budget_bytes, PolicyShape shape, std::unique_ptr<EvictionPolicy> policy,
                Placement placement = Placement::kArena);
    ~ExpertCache();
    ExpertCache(const ExpertCache &) = delete;
    ExpertCache & operator=(const ExpertCache &) = delete;

    // What a slot for these matrices takes of the budget.
    static uint64_t slot_bytes(const MatrixBytes & matrices);

    bool contains(ExpertId id) const { return slot(id).is_taken; }
    // Bytes from the start of the arena; the same while the expert is in the cache. REQUIRES: contains(id), it has that
    // matrix, Placement::kArena.
    uint64_t offset(ExpertId id, Projection projection) const;

    // The router chose `id`; tells the policy. Independent of residency.
    void record_use(ExpertId id, PolicyTime now, ExpertUse use = {});

    // Predicted scores of the `n` experts of `layer`, for the policy.
    void score_next_use(int32_t layer, const float * scores, size_t n) { policy_->on_scores(layer, scores, n); }
    bool takes_scores() const { return policy_->takes_scores(); }

    // Gives `id` a slot, evicting unpinned experts: those that pass through and are not protected, the latest first,
    // then as the policy says. They are appended to *evicted. Returns false, with what was evicted up to then in
    // *evicted, when the pinned slots leave no room. The new slot is not pinned. REQUIRES: !contains(id), some matrix.
    [[nodiscard]] bool insert(ExpertId id, const MatrixBytes & matrices, PolicyTime now,
                              std::vector<ExpertId> * evicted);

    // Chooses which of a layer's absent experts insert_streamed() lets settle in room that is free, or that experts
    // have which were never used although their layer had its turn: those that are worth most to the policy, of equals
    // the lowest number, as many as fit beside the layer's settled ones that were used into limits.layer_bytes. After
    // their uses were recorded.
    struct Absent {
        ExpertId id;
        uint64_t slot_bytes = 0;
    };
    void choose_settling(std::vector<Absent> * absent, const StreamLimits & limits);

    // insert() for an expert that passes through. It settles all the same if it was chosen to and there is room, free,
    // of others that pass through or of what was read in vain; and in the place of the policy's victim if that was last
    // used longer ago than `id` was before this use. Otherwise it takes room that is free or of others that pass
    // through, and evicts as the policy says only while all that pass through take less than limits.window_bytes. False
    // may also mean that this limit is reached; never when no slot is pinned.
    [[nodiscard]] bool insert_streamed(ExpertId id, const MatrixBytes & matrices, PolicyTime now,
                                       const StreamLimits & limits, std::vector<ExpertId> * evicted);

    // insert() for an expert that is likely to be used soon: no protected expert leaves for it.
    [[nodiscard]] bool insert_forecast(ExpertId id, const MatrixBytes & matrices, PolicyTime now,
                                       std::vector<ExpertId> * evicted);
    // insert(), in free room alone.
    [[nodiscard]] bool insert_free(ExpertId id, const MatrixBytes & matrices, PolicyTime now);

    // A protected expert is a victim of insert() only when all others are pinned. Its slot may come and go meanwhile.
    void protect(ExpertId id, bool is_protected);

    // An expert that passed through settles. REQUIRES: contains(id).
    void keep(ExpertId id);

    // Gives up the slot (a failed read, a shrinking budget). REQUIRES: contains(id), not pinned.
    void remove(ExpertId id);

    // Pins are counted. REQUIRES: contains(id); for unpin, a pin.
    void pin(ExpertId id);
    void unpin(ExpertId id);
    bool is_pinned(ExpertId id) const { return slot(id).pins > 0; }

    uint64_t budget_bytes() const { return budget_bytes_; }
    uint64_t used_bytes() const { return used_bytes_; }          // bytes of slots
    uint64_t streamed_bytes() const { return streamed_bytes_; }  // of these, of experts that pass through
    size_t size() const { return size_; }
    const char * policy_name() const { return policy_->name(); }

    // Empty when all is well, otherwise what is broken: slots and free ranges tile the arena without overlap, counts
    // and sums agree, every slot is known to the policy. For tests and the fuzzer; O(n log n).
    std::string check_invariants() const;

private:
    struct Slot {
        std::array<uint64_t, kProjectionCount> offsets{};
        MatrixBytes bytes{};  // rounded up
        int64_t last_use = kNever;
        int64_t use_before = kNever;  // the last use in a step before that of last_use
        int32_t pins = 0;
        bool is_taken = false;
        bool is_streamed = false;
        bool is_protected = false;  // also while it is not taken
        bool may_settle = false;    // chosen by choose_settling()

        uint64_t all_bytes() const;
    };
    class Evictable;
    class NeverUsed;
    static constexpr int64_t kNever = INT64_MIN;

    Slot & slot(ExpertId id) { return slots_[index(id)]; }
    const Slot & slot(ExpertId id) const { return slots_[index(id)]; }
    size_t index(ExpertId id) const;
    bool can_ever_fit(const MatrixBytes & matrices) const;
    bool place(Slot * slot);
    bool place_matrices(Slot * slot);
    void settle(ExpertId id, bool is_streamed, PolicyTime now);
    bool find_victim(PolicyTime now, ExpertId * victim);
    bool evict_streamed(const EvictionPolicy::Filter & filter, std::vector<ExpertId> * evicted);
    bool evict_by_policy(PolicyTime now, std::vector<ExpertId> * evicted);
    bool evict_by_policy(PolicyTime now, const EvictionPolicy::Filter & filter, std::vector<ExpertId> * evicted);
    uint64_t settled_and_used_bytes(int32_t layer) const;
    void evict(ExpertId victim, std::vector<ExpertId> * evicted);
    bool earns_a_place(ExpertId id, PolicyTime now);
    std::string check_slots() const;
    std::string check_tiling() const;
    std::string check_policy() const;

    uint64_t budget_bytes_;
    Placement placement_;
    int32_t n_experts_;
    uint64_t used_bytes_ = 0;
    uint64_t streamed_bytes_ = 0;
    size_t size_ = 0;
    size_t n_protected_ = 0;
    std::unique_ptr<EvictionPolicy> policy_;
    std::vector<Slot> slots_;              // by layer * n_experts + expert
    std::vector<uint64_t> settled_bytes_;  // of slots that do not pass through, by layer
    std::vector<ExpertId> streamed_;       // those that pass through, the latest last
    RangeAllocator ranges_;                // without use for Placement::kCounted
};

}  // namespace edgemoe
