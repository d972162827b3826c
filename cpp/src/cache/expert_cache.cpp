// Invariants: the slots and the free ranges tile [0, budget_bytes_) without overlap; no two free ranges touch (they are
// merged); free_by_offset_ and free_by_size_ hold the same ranges; exactly the experts with a slot are inserted in
// policy_.
#include "cache/expert_cache.h"

#include "base/checked.h"

#include <cassert>
#include <iterator>

namespace edgemoe {

class ExpertCache::Unpinned final : public EvictionPolicy::Filter {
public:
    explicit Unpinned(const ExpertCache & cache) : cache_(cache) {}
    bool is_evictable(ExpertId id) const override {
        const auto slot = cache_.slots_.find(id);
        assert(slot != cache_.slots_.end() && "the policy offers an expert that has no slot");
        return slot->second.pins == 0;
    }

private:
    const ExpertCache & cache_;
};

ExpertCache::ExpertCache(uint64_t budget_bytes, std::unique_ptr<EvictionPolicy> policy)
    : budget_bytes_(budget_bytes), policy_(std::move(policy)) {
    assert(policy_ != nullptr);
    if (budget_bytes_ > 0) {
        give_free_range(0, budget_bytes_);
    }
}

ExpertCache::~ExpertCache() = default;

bool ExpertCache::contains(ExpertId id) const {
    return slots_.find(id) != slots_.end();
}

uint64_t ExpertCache::offset(ExpertId id) const {
    const auto slot = slots_.find(id);
    assert(slot != slots_.end());
    return slot->second.offset;
}

void ExpertCache::record_use(ExpertId id, PolicyTime now, ExpertUse use) {
    policy_->on_use(id, now, use);
}

bool ExpertCache::insert(ExpertId id, uint64_t bytes, PolicyTime now, std::vector<ExpertId> * evicted) {
    assert(bytes > 0 && !contains(id));
    if (bytes > budget_bytes_) {
        return false;  // nothing need leave for what can never fit
    }
    Slot slot;
    slot.bytes = align_up(bytes, kGranularity);
    while (!take_free_range(slot.bytes, &slot.offset)) {
        ExpertId victim;
        if (!policy_->victim(now, Unpinned(*this), &victim)) {
            return false;
        }
        remove(victim);
        evicted->push_back(victim);
    }
    used_bytes_ += slot.bytes;
    slots_.emplace(id, slot);
    policy_->on_insert(id, now);
    return true;
}

void ExpertCache::remove(ExpertId id) {
    const auto slot = slots_.find(id);
    assert(slot != slots_.end() && slot->second.pins == 0);
    policy_->on_remove(id);
    used_bytes_ -= slot->second.bytes;
    give_free_range(slot->second.offset, slot->second.bytes);
    slots_.erase(slot);
}

void ExpertCache::pin(ExpertId id) {
    const auto slot = slots_.find(id);
    assert(slot != slots_.end());
    ++slot->second.pins;
}

void ExpertCache::unpin(ExpertId id) {
    const auto slot = slots_.find(id);
    assert(slot != slots_.end() && slot->second.pins > 0);
    --slot->second.pins;
}

// Best fit: the smallest range that is large enough, of equals the one with the lowest offset.
bool ExpertCache::take_free_range(uint64_t bytes, uint64_t * offset) {
    const auto best = free_by_size_.lower_bound({bytes, 0});
    if (best == free_by_size_.end()) {
        return false;
    }
    const auto [range_bytes, range_offset] = *best;
    free_by_size_.erase(best);
    free_by_offset_.erase(range_offset);
    if (range_bytes > bytes) {
        free_by_offset_.emplace(range_offset + bytes, range_bytes - bytes);
        free_by_size_.emplace(range_bytes - bytes, range_offset + bytes);
    }
    *offset = range_offset;
    return true;
}

void ExpertCache::give_free_range(uint64_t offset, uint64_t bytes) {
    auto next = free_by_offset_.lower_bound(offset);
    if (next != free_by_offset_.begin()) {
        const auto previous = std::prev(next);
        if (previous->first + previous->second == offset) {
            offset = previous->first;
            bytes += previous->second;
            free_by_size_.erase({previous->second, previous->first});
            free_by_offset_.erase(previous);
        }
    }
    if (next != free_by_offset_.end() && offset + bytes == next->first) {
        bytes += next->second;
        free_by_size_.erase({next->second, next->first});
        free_by_offset_.erase(next);
    }
    free_by_offset_.emplace(offset, bytes);
    free_by_size_.emplace(bytes, offset);
}

std::string ExpertCache::check_invariants() const {
    std::map<uint64_t, uint64_t> parts;  // offset -> bytes, of slots and free ranges alike
    uint64_t slot_bytes = 0;
    for (const auto & [id, slot] : slots_) {
        const std::string who = "slot of layer " + std::to_string(id.layer) + " expert " + std::to_string(id.expert);
        if (slot.pins < 0) {
            return who + ": negative pins";
        }
        if (slot.bytes == 0 || slot.offset % kGranularity != 0 || slot.bytes % kGranularity != 0) {
            return who + ": empty or not aligned";
        }
        if (!parts.emplace(slot.offset, slot.bytes).second) {
            return who + ": shares its offset with another";
        }
        slot_bytes += slot.bytes;
    }
    if (slot_bytes != used_bytes_) {
        return "used bytes are " + std::to_string(used_bytes_) + ", slots have " + std::to_string(slot_bytes);
    }
    uint64_t previous_end = 0;
    bool first = true;
    for (const auto & [offset, bytes] : free_by_offset_) {
        if (free_by_size_.count({bytes, offset}) == 0 || !parts.emplace(offset, bytes).second) {
            return "free range at " + std::to_string(offset) + ": not indexed by size, or also a slot";
        }
        if (!first && offset == previous_end) {
            return "free range at " + std::to_string(offset) + ": not merged with its neighbour";
        }
        previous_end = offset + bytes;
        first = false;
    }
    if (free_by_size_.size() != free_by_offset_.size()) {
        return "the two lists of free ranges differ in length";
    }
    uint64_t end = 0;
    for (const auto & [offset, bytes] : parts) {
        if (offset != end) {
            return "gap or overlap at " + std::to_string(end);
        }
        end = offset + bytes;
    }
    if (end != budget_bytes_) {
        return "slots and free ranges end at " + std::to_string(end) + ", the budget at " +
               std::to_string(budget_bytes_);
    }

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
    if (known.size() != slots_.size()) {
        return "the policy knows " + std::to_string(known.size()) + " experts, slots are " +
               std::to_string(slots_.size());
    }
    for (const ExpertId & id : known) {
        if (!contains(id)) {
            return "the policy knows an expert without a slot";
        }
    }
    return {};
}

}  // namespace edgemoe
