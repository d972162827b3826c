// ExpertCache::check_invariants(): what expert_cache.cpp promises, looked up in full.
#include "cache/expert_cache.h"

#include <map>
#include <set>

namespace edgemoe {

std::string ExpertCache::check_invariants() const {
    for (const auto check : {&ExpertCache::check_slots, &ExpertCache::check_tiling, &ExpertCache::check_policy}) {
        std::string broken = (this->*check)();
        if (!broken.empty()) {
            return broken;
        }
    }
    return {};
}

std::string ExpertCache::check_slots() const {
    uint64_t used = 0;
    uint64_t streamed = 0;
    size_t n_taken = 0;
    size_t n_streamed = 0;
    std::vector<uint64_t> by_layer(settled_bytes_.size(), 0);
    for (size_t i = 0; i < slots_.size(); ++i) {
        const Slot & slot = slots_[i];
        if (!slot.is_taken) {
            if (slot.pins != 0) {
                return "an absent expert is pinned";
            }
            continue;
        }
        if (slot.pins < 0 || slot.all_bytes() == 0) {
            return "slot " + std::to_string(i) + ": negative pins or empty";
        }
        used += slot.all_bytes();
        streamed += slot.is_streamed ? slot.all_bytes() : 0;
        by_layer[i / static_cast<size_t>(n_experts_)] += slot.is_streamed ? 0 : slot.all_bytes();
        n_taken++;
        n_streamed += slot.is_streamed ? 1 : 0;
    }
    if (used != used_bytes_ || used > budget_bytes_ || streamed != streamed_bytes_ || by_layer != settled_bytes_ ||
        n_taken != size_) {
        return "sums or counts are wrong: " + std::to_string(used_bytes_) + " bytes used, slots have " +
               std::to_string(used) + " of " + std::to_string(budget_bytes_);
    }
    if (std::set<ExpertId>(streamed_.begin(), streamed_.end()).size() != streamed_.size() ||
        streamed_.size() != n_streamed) {
        return "the list of experts that pass through is not the set of them";
    }
    for (const ExpertId & id : streamed_) {
        if (!slot(id).is_taken || !slot(id).is_streamed) {
            return "the list of experts that pass through has another";
        }
    }
    return {};
}

std::string ExpertCache::check_tiling() const {
    if (placement_ == Placement::kCounted) {
        return {};
    }
    std::map<uint64_t, uint64_t> pieces;  // offset -> bytes, of matrices and free ranges alike
    for (const Slot & slot : slots_) {
        for (size_t p = 0; p < kProjectionCount && slot.is_taken; ++p) {
            if (slot.bytes[p] == 0) {
                continue;
            }
            if (slot.offsets[p] % kGranularity != 0 || slot.bytes[p] % kGranularity != 0) {
                return "a matrix is not aligned";
            }
            if (!pieces.emplace(slot.offsets[p], slot.bytes[p]).second) {
                return "two matrices at " + std::to_string(slot.offsets[p]);
            }
        }
    }
    uint64_t free_bytes = 0;
    uint64_t previous_end = UINT64_MAX;
    for (const RangeAllocator::Range & range : ranges_.free_ranges()) {
        if (range.bytes == 0 || range.offset == previous_end || !pieces.emplace(range.offset, range.bytes).second) {
            return "free range at " + std::to_string(range.offset) + ": empty, not merged, or also a matrix";
        }
        previous_end = range.offset + range.bytes;
        free_bytes += range.bytes;
    }
    if (free_bytes != ranges_.free_bytes() || free_bytes + used_bytes_ != budget_bytes_) {
        return "free and used bytes are not the budget";
    }
    uint64_t end = 0;
    for (const auto & [offset, bytes] : pieces) {
        if (offset != end) {
            return "gap or overlap at " + std::to_string(end);
        }
        end = offset + bytes;
    }
    return end == budget_bytes_ ? "" : "slots and free ranges end at " + std::to_string(end);
}

std::string ExpertCache::check_policy() const {
    // A policy that is refused everything has to ask about everything that it knows.
    class Census final : public EvictionPolicy::Filter {
    public:
        explicit Census(std::set<ExpertId> * asked) : asked_(asked) {}
        bool is_evictable(ExpertId id) const override {
            asked_->insert(id);
            return false;
        }

    private:
        std::set<ExpertId> * asked_;
    };
    std::set<ExpertId> known;
    ExpertId unused;
    if (policy_->victim(PolicyTime{}, Census(&known), &unused)) {
        return "the policy named a victim that was refused";
    }
    if (known.size() != size_) {
        return "the policy knows " + std::to_string(known.size()) + " experts, slots are " + std::to_string(size_);
    }
    for (const ExpertId & id : known) {
        if (!contains(id)) {
            return "the policy knows an expert without a slot";
        }
    }
    return {};
}

}  // namespace edgemoe
