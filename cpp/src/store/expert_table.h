// What the store knows of each expert: where its matrices are, and which of them are there.
#pragma once

#include "base/expert_id.h"
#include "cache/expert_cache.h"
#include "storage/expert_index.h"
#include "store/part_check.h"

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace edgemoe {

// A set of projections, one bit each.
using ProjectionMask = uint8_t;
constexpr ProjectionMask projection_bit(Projection projection) {
    return static_cast<ProjectionMask>(1u << static_cast<unsigned>(projection));
}
constexpr ProjectionMask kAllProjections = (1u << kProjectionCount) - 1;
constexpr bool has_projection(ProjectionMask mask, size_t projection) {
    return (mask & (1u << projection)) != 0;
}

enum class PartState : uint8_t { kAbsent, kReading, kReady };

// Guarded by the store's mutex, but for `states`: who sees kReady may read that matrix's address and bytes without it,
// as long as the expert is pinned.
struct ExpertEntry {
    ExpertId id;
    const ExpertParts * parts = nullptr;
    MatrixBytes matrix_bytes{};                            // that the matrices take of the cache
    std::array<std::byte *, kProjectionCount> matrices{};  // while it is resident
    std::array<std::atomic<PartState>, kProjectionCount> states{};
    std::array<int32_t, kProjectionCount> chunks_left{};
    std::array<PartCheck, kProjectionCount> checks{};  // not guarded: atomic
    ProjectionMask damaged = 0;                        // matrices of which a chunk failed
    bool is_resident = false;                          // it has a slot
    uint64_t n_uses = 0;                               // passes that chose it

    PartState state(size_t projection) const { return states[projection].load(std::memory_order_relaxed); }
    const ExpertPart & part(Projection projection) const { return (*parts)[static_cast<size_t>(projection)]; }
};

// The entries by layer and expert; their number and order do not change. Not copied, because entries are atomic.
class ExpertTable {
public:
    // `index` outlives the table. Matrix sizes are what the file has of them.
    explicit ExpertTable(const ExpertIndex & index);

    // The number of the entry, -1 when there is no such expert.
    int32_t find(ExpertId id) const;
    // The entries of a layer: from `first` to before `end`. REQUIRES: it has experts.
    struct Range {
        int32_t first = 0;
        int32_t end = 0;
    };
    Range layer(int32_t layer) const {
        const int32_t first = first_entry_[static_cast<size_t>(layer)];
        return {first, first + n_experts_[static_cast<size_t>(layer)]};
    }
    ExpertEntry & operator[](int32_t entry) { return entries_[static_cast<size_t>(entry)]; }
    const ExpertEntry & operator[](int32_t entry) const { return entries_[static_cast<size_t>(entry)]; }
    std::vector<ExpertEntry> & entries() { return entries_; }
    const std::vector<ExpertEntry> & entries() const { return entries_; }

private:
    std::vector<ExpertEntry> entries_;
    std::vector<int32_t> first_entry_;  // by layer number, -1: no experts
    std::vector<int32_t> n_experts_;    // by layer number
};

}  // namespace edgemoe
