// Least recently used. Simple, and with a cliff: layers are visited in a fixed cycle, so below one token's working set
// every expert leaves just before its layer comes round again.
//
// Invariant: the inserted experts form one doubly linked list through next_ and prev_, from the least to the most
// recently used; the sentinel at index n closes it to a ring. An expert that is not inserted links to kAbsent.
#include "cache/policies.h"

#include <cassert>
#include <cstddef>

namespace edgemoe {
namespace {

class LruPolicy final : public EvictionPolicy {
public:
    explicit LruPolicy(PolicyShape shape)
        : n_experts_(shape.n_experts),
          sentinel_(shape.n_layers * shape.n_experts),
          next_(static_cast<size_t>(sentinel_) + 1, kAbsent),
          prev_(static_cast<size_t>(sentinel_) + 1, kAbsent) {
        next(sentinel_) = sentinel_;
        prev(sentinel_) = sentinel_;
    }

    void on_use(ExpertId id, PolicyTime, ExpertUse) override {
        const int32_t i = index(id);
        if (next(i) != kAbsent) {
            unlink(i);
            append(i);
        }
    }

    void on_insert(ExpertId id, PolicyTime) override { append(index(id)); }
    void on_remove(ExpertId id) override { unlink(index(id)); }

    bool victim(PolicyTime, const Filter & filter, ExpertId * id) override {
        for (int32_t i = next(sentinel_); i != sentinel_; i = next(i)) {
            const ExpertId candidate{i / n_experts_, i % n_experts_};
            if (filter.is_evictable(candidate)) {
                *id = candidate;
                return true;
            }
        }
        return false;
    }

    const char * name() const override { return "lru"; }

private:
    static constexpr int32_t kAbsent = -1;

    int32_t & next(int32_t i) { return next_[static_cast<size_t>(i)]; }
    int32_t & prev(int32_t i) { return prev_[static_cast<size_t>(i)]; }

    int32_t index(ExpertId id) const {
        assert(id.expert >= 0 && id.expert < n_experts_ && id.layer >= 0);
        return id.layer * n_experts_ + id.expert;
    }

    void append(int32_t i) {
        assert(next(i) == kAbsent);
        const int32_t last = prev(sentinel_);
        next(last) = i;
        prev(i) = last;
        next(i) = sentinel_;
        prev(sentinel_) = i;
    }

    void unlink(int32_t i) {
        assert(next(i) != kAbsent);
        next(prev(i)) = next(i);
        prev(next(i)) = prev(i);
        next(i) = kAbsent;
        prev(i) = kAbsent;
    }

    int32_t n_experts_;
    int32_t sentinel_;
    std::vector<int32_t> next_;
    std::vector<int32_t> prev_;
};

}  // namespace

std::unique_ptr<EvictionPolicy> make_lru_policy(PolicyShape shape) {
    return std::make_unique<LruPolicy>(shape);
}

}  // namespace edgemoe
