// The experts of one layer, for one computation.
#pragma once

#include "base/expert_id.h"
#include "base/status.h"
#include "cache/eviction_policy.h"
#include "cache/streaming_rule.h"
#include "store/expert_table.h"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

namespace edgemoe {

class ExpertStore;

// Several threads may call data(), progress() and release() at once; the rest is for the thread that made it. Experts
// are admitted in the order asked for, as many at a time as fit the budget; release() makes room for the next. The
// store owns and reuses the objects.
class Lease {
public:
    Lease(const Lease &) = delete;
    Lease & operator=(const Lease &) = delete;

    size_t size() const { return entries_.size(); }

    // True for the first lease of its layer in a pass over the layers: the one whose uses are counted.
    bool begins_pass() const { return begins_pass_; }

    // The matrix of the i-th expert asked for, converted; nullptr while it is not there. It stays valid until
    // release(i). No lock.
    const std::byte * data(size_t i, Projection projection) const;

    // Converts one arrival, if there is one. With `may_block`, otherwise waits until one came, or another thread made a
    // difference. True: look at data() again. False: nothing came; with `may_block`, nothing will, or the lease has
    // failed.
    bool progress(bool may_block);

    // True while something is read that nobody has asked for yet: who has nothing else to do may take what came of it,
    // by progress(false). No lock.
    bool reads_ahead() const;

    // The computation is done with the i-th expert; experts that waited for room are read, unless the lease has failed.
    // Once per expert. No lock while nobody waits for room: then it may be evicted once the lease has ended, or, if
    // that ends its layer, for what is read ahead.
    void release(size_t i);

    // True once a read has failed; status() then says which and why. The computation has to be given up.
    bool failed() const { return failed_.load(std::memory_order_acquire); }
    Status status() const;

    // Ends the lease: unpins what it holds, drops its reads that were not submitted, and gives the object back.
    struct End {
        void operator()(Lease * lease) const;
    };

private:
    friend class ExpertStore;
    enum class Admission : uint8_t {
        kWaiting,   // for a slot
        kAdmitted,  // pinned
        kReleased,  // of no more use, and pinned until the store sees it: before it reads ahead, or when the lease ends
        kUnpinned,  // of no more use
    };

    explicit Lease(ExpertStore & store) : store_(store) {}
    // A lease of `entries().size()` experts that all wait. REQUIRES: it has ended, or is new.
    void begin(int32_t layer, ProjectionMask mask);
    Admission admission(size_t i) const { return admissions_[i].load(std::memory_order_relaxed); }
    // False: the layer's experts are asked for once more, for the down matrices.
    bool ends_layer() const { return has_projection(mask_, static_cast<size_t>(Projection::kDown)); }
    bool holds(int32_t entry) const;  // admitted and not released; REQUIRES the store's mutex
    bool waits() const { return n_waiting_.load(std::memory_order_relaxed) > 0; }
    void admit(size_t i);      // REQUIRES the store's mutex
    void fail(Status status);  // REQUIRES the store's mutex

    ExpertStore & store_;
    int32_t layer_ = 0;
    ProjectionMask mask_ = 0;
    uint64_t number_ = 0;  // from 1, in the order of acquire()
    PolicyTime time_;
    bool begins_pass_ = false;
    std::optional<StreamLimits> stream_;  // the experts pass through the cache
    std::vector<int32_t> entries_;        // index into the store's table
    std::vector<std::atomic<Admission>>
        admissions_;                    // at least as many; written under the store's mutex, but release()
    std::atomic<size_t> n_waiting_{0};  // only falls; written under the store's mutex
    size_t n_admitted_ = 0;             // admitted and still pinned; guarded by the store's mutex
    std::atomic<bool> failed_{false};
    Status status_;  // guarded by the store's mutex
};

using LeasePtr = std::unique_ptr<Lease, Lease::End>;

}  // namespace edgemoe
