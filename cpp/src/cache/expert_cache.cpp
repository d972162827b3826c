// Invariants: exactly the taken slots are inserted in policy_; exactly those with is_streamed are in streamed_; the
// sums and counts are over the taken slots; for kArena, the taken slots' matrices and the free ranges tile the arena.
#include "cache/expert_cache.h"

#include "base/checked.h"

#include <algorithm>
#include <cassert>
#include <numeric>
#include <utility>

namespace edgemoe {

// Those that are not pinned, and perhaps not protected.
class ExpertCache::Evictable final : public EvictionPolicy::Filter {
public:
    Evictable(const ExpertCache & cache, bool spares_protected) : cache_(cache), spares_protected_(spares_protected) {}
    bool is_evictable(ExpertId id) const override {
        assert(cache_.contains(id) && "the policy offers an expert that has no slot");
        const Slot & slot = cache_.slot(id);
        return slot.pins == 0 && !(spares_protected_ && slot.is_protected);
    }

private:
    const ExpertCache & cache_;
    const bool spares_protected_;
};

// Those that were read because they might be wanted, and that nothing has used although their layer had its turn.
class ExpertCache::NeverUsed final : public EvictionPolicy::Filter {
public:
    NeverUsed(const ExpertCache & cache, int32_t layer) : cache_(cache), layer_(layer) {}
    bool is_evictable(ExpertId id) const override {
        const Slot & slot = cache_.slot(id);
        return id.layer <= layer_ && slot.pins == 0 && !slot.is_protected && slot.last_use == kNever;
    }

private:
    const ExpertCache & cache_;
    const int32_t layer_;  // that is being served
};

uint64_t ExpertCache::Slot::all_bytes() const {
    return std::accumulate(bytes.begin(), bytes.end(), uint64_t{0});
}

ExpertCache::ExpertCache(uint64_t budget_bytes, PolicyShape shape, std::unique_ptr<EvictionPolicy> policy,
                         Placement placement)
    : budget_bytes_(budget_bytes),
      placement_(placement),
      n_experts_(shape.n_experts),
      policy_(std::move(policy)),
      slots_(static_cast<size_t>(shape.n_layers) * static_cast<size_t>(shape.n_experts)),
      settled_bytes_(static_cast<size_t>(shape.n_layers), 0),
      ranges_(budget_bytes) {
    assert(policy_ != nullptr);
}

ExpertCache::~ExpertCache() = default;

uint64_t ExpertCache::slot_bytes(const MatrixBytes & matrices) {
    uint64_t sum = 0;
    for (const uint64_t bytes : matrices) {
        sum += align_up(bytes, kGranularity);
    }
    return sum;
}

bool ExpertCache::can_ever_fit(const MatrixBytes & matrices) const {
    return *std::max_element(matrices.begin(), matrices.end()) <= budget_bytes_ &&
           slot_bytes(matrices) <= budget_bytes_;
}

size_t ExpertCache::index(ExpertId id) const {
    assert(id.layer >= 0 && static_cast<size_t>(id.layer) < settled_bytes_.size());
    assert(id.expert >= 0 && id.expert < n_experts_);
    return static_cast<size_t>(id.layer) * static_cast<size_t>(n_experts_) + static_cast<size_t>(id.expert);
}

uint64_t ExpertCache::offset(ExpertId id, Projection projection) const {
    const Slot & taken = slot(id);
    assert(taken.is_taken && taken.bytes[static_cast<size_t>(projection)] > 0 && placement_ == Placement::kArena);
    return taken.offsets[static_cast<size_t>(projection)];
}

void ExpertCache::record_use(ExpertId id, PolicyTime now, ExpertUse use) {
    Slot & used = slot(id);
    if (used.last_use != now.step) {
        used.use_before = used.last_use;
        used.last_use = now.step;
    }
    policy_->on_use(id, now, use);
}

bool ExpertCache::insert(ExpertId id, const MatrixBytes & matrices, PolicyTime now, std::vector<ExpertId> * evicted) {
    Slot & taken = slot(id);
    assert(!taken.is_taken);
    if (!can_ever_fit(matrices)) {
        return false;  // nothing need leave
    }
    taken.bytes = matrices;
    while (!place(&taken)) {
        if (!evict_streamed(Evictable(*this, true), evicted) && !evict_by_policy(now, evicted)) {
            return false;
        }
    }
    settle(id, false, now);
    return true;
}

void ExpertCache::choose_settling(std::vector<Absent> * absent, const StreamLimits & limits) {
    std::sort(absent->begin(), absent->end(), [this](const Absent & a, const Absent & b) {
        const float value_a = policy_->value(a.id);
        const float value_b = policy_->value(b.id);
        return value_a != value_b ? value_a > value_b : a.id < b.id;
    });
    uint64_t bytes = absent->empty() ? 0 : settled_and_used_bytes(absent->front().id.layer);
    for (const Absent & expert : *absent) {
        bytes += expert.slot_bytes;
        slot(expert.id).may_settle = bytes <= limits.layer_bytes;
    }
}

bool ExpertCache::insert_streamed(ExpertId id, const MatrixBytes & matrices, PolicyTime now,
                                  const StreamLimits & limits, std::vector<ExpertId> * evicted) {
    Slot & taken = slot(id);
    assert(!taken.is_taken);
    if (!can_ever_fit(matrices)) {
        return false;
    }
    const uint64_t bytes = slot_bytes(matrices);
    taken.bytes = matrices;
    if (taken.may_settle) {
        do {
            if (place(&taken)) {
                settle(id, false, now);
                return true;
            }
        } while (evict_streamed(Evictable(*this, false), evicted) ||
                 evict_by_policy(now, NeverUsed(*this, now.layer), evicted));
    }
    if (earns_a_place(id, now)) {
        return insert(id, matrices, now, evicted);
    }
    const auto fits_window = [&] { return streamed_bytes_ + bytes <= limits.window_bytes; };
    while (!place(&taken)) {
        if (!evict_streamed(Evictable(*this, false), evicted) && !(fits_window() && evict_by_policy(now, evicted))) {
            return false;
        }
    }
    settle(id, true, now);
    return true;
}

bool ExpertCache::insert_forecast(ExpertId id, const MatrixBytes & matrices, PolicyTime now,
                                  std::vector<ExpertId> * evicted) {
    Slot & taken = slot(id);
    assert(!taken.is_taken);
    if (!can_ever_fit(matrices)) {
        return false;
    }
    taken.bytes = matrices;
    const Evictable unprotected(*this, true);
    while (!place(&taken)) {
        if (!evict_streamed(unprotected, evicted) && !evict_by_policy(now, unprotected, evicted)) {
            return false;
        }
    }
    settle(id, false, now);
    return true;
}

bool ExpertCache::insert_free(ExpertId id, const MatrixBytes & matrices, PolicyTime now) {
    Slot & taken = slot(id);
    assert(!taken.is_taken);
    taken.bytes = matrices;
    if (!can_ever_fit(matrices) || !place(&taken)) {
        return false;
    }
    settle(id, false, now);
    return true;
}

void ExpertCache::protect(ExpertId id, bool is_protected) {
    Slot & changed = slot(id);
    if (changed.is_protected != is_protected) {
        changed.is_protected = is_protected;
        n_protected_ += is_protected ? 1 : size_t{0} - 1;
    }
}

// This use says little in a pass that uses nearly everything, so what counts is the one before.
bool ExpertCache::earns_a_place(ExpertId id, PolicyTime now) {
    const Slot & wanted = slot(id);
    const int64_t use_before = wanted.last_use == now.step ? wanted.use_before : wanted.last_use;
    ExpertId victim;
    return use_before != kNever && find_victim(now, &victim) && slot(victim).last_use < use_before;
}

void ExpertCache::settle(ExpertId id, bool is_streamed, PolicyTime now) {
    Slot & taken = slot(id);
    taken.is_taken = true;
    taken.is_streamed = is_streamed;
    const uint64_t bytes = taken.all_bytes();
    used_bytes_ += bytes;
    size_++;
    if (is_streamed) {
        streamed_bytes_ += bytes;
        streamed_.push_back(id);
    } else {
        settled_bytes_[static_cast<size_t>(id.layer)] += bytes;
    }
    policy_->on_insert(id, now);
}

// The latest, because layers come in a fixed cycle: it is the one whose turn is farthest away.
bool ExpertCache::evict_streamed(const EvictionPolicy::Filter & filter, std::vector<ExpertId> * evicted) {
    const auto victim =
        std::find_if(streamed_.rbegin(), streamed_.rend(), [&filter](ExpertId id) { return filter.is_evictable(id); });
    if (victim == streamed_.rend()) {
        return false;
    }
    evicted->push_back(*victim);
    remove(evicted->back());
    return true;
}

bool ExpertCache::evict_by_policy(PolicyTime now, std::vector<ExpertId> * evicted) {
    ExpertId victim;
    if (!find_victim(now, &victim)) {
        return false;
    }
    evict(victim, evicted);
    return true;
}

bool ExpertCache::evict_by_policy(PolicyTime now, const EvictionPolicy::Filter & filter,
                                  std::vector<ExpertId> * evicted) {
    ExpertId victim;
    if (!policy_->victim(now, filter, &victim)) {
        return false;
    }
    evict(victim, evicted);
    return true;
}

uint64_t ExpertCache::settled_and_used_bytes(int32_t layer) const {
    uint64_t bytes = settled_bytes_[static_cast<size_t>(layer)];
    for (int32_t expert = 0; expert < n_experts_; expert++) {
        const Slot & settled = slot({layer, expert});
        const bool counts = settled.is_taken && !settled.is_streamed && settled.last_use == kNever;
        bytes -= counts ? settled.all_bytes() : 0;
    }
    return bytes;
}

bool ExpertCache::find_victim(PolicyTime now, ExpertId * victim) {
    return (n_protected_ > 0 && policy_->victim(now, Evictable(*this, true), victim)) ||
           policy_->victim(now, Evictable(*this, false), victim);
}

void ExpertCache::evict(ExpertId victim, std::vector<ExpertId> * evicted) {
    evicted->push_back(victim);
    remove(victim);
}

void ExpertCache::keep(ExpertId id) {
    Slot & taken = slot(id);
    assert(taken.is_taken);
    if (taken.is_streamed) {
        taken.is_streamed = false;
        streamed_bytes_ -= taken.all_bytes();
        settled_bytes_[static_cast<size_t>(id.layer)] += taken.all_bytes();
        streamed_.erase(std::find(streamed_.begin(), streamed_.end(), id));
    }
}

void ExpertCache::remove(ExpertId id) {
    Slot & taken = slot(id);
    assert(taken.is_taken && taken.pins == 0);
    keep(id);
    policy_->on_remove(id);
    const uint64_t bytes = taken.all_bytes();
    used_bytes_ -= bytes;
    settled_bytes_[static_cast<size_t>(id.layer)] -= bytes;
    size_--;
    taken.is_taken = false;
    for (size_t p = 0; p < kProjectionCount && placement_ == Placement::kArena; ++p) {
        if (taken.bytes[p] > 0) {
            ranges_.give_back(taken.offsets[p], taken.bytes[p]);
        }
    }
}

void ExpertCache::pin(ExpertId id) {
    assert(contains(id));
    ++slot(id).pins;
}

void ExpertCache::unpin(ExpertId id) {
    assert(contains(id) && slot(id).pins > 0);
    --slot(id).pins;
}

// Finds room for slot->bytes, which are rounded up, as it is free; false when there is none.
bool ExpertCache::place(Slot * slot) {
    for (uint64_t & bytes : slot->bytes) {
        bytes = align_up(bytes, kGranularity);
    }
    const uint64_t bytes = slot->all_bytes();
    assert(bytes > 0);
    if (bytes > budget_bytes_ - used_bytes_) {
        return false;
    }
    if (placement_ == Placement::kCounted) {
        return true;
    }
    uint64_t offset = 0;
    if (!ranges_.take(bytes, &offset)) {
        return place_matrices(slot);
    }
    for (size_t p = 0; p < kProjectionCount; ++p) {
        slot->offsets[p] = offset;
        offset += slot->bytes[p];
    }
    return true;
}

// Each matrix where it fits best, the largest first; all or none.
bool ExpertCache::place_matrices(Slot * slot) {
    std::array<size_t, kProjectionCount> order{};
    std::iota(order.begin(), order.end(), 0);
    std::sort(order.begin(), order.end(), [slot](size_t a, size_t b) {
        return slot->bytes[a] != slot->bytes[b] ? slot->bytes[a] > slot->bytes[b] : a < b;
    });
    for (size_t i = 0; i < kProjectionCount; ++i) {
        const size_t p = order[i];
        if (slot->bytes[p] == 0 || ranges_.take(slot->bytes[p], &slot->offsets[p])) {
            continue;
        }
        while (i-- > 0) {
            ranges_.give_back(slot->offsets[order[i]], slot->bytes[order[i]]);
        }
        return false;
    }
    return true;
}

}  // namespace edgemoe
