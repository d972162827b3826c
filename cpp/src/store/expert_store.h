// The streaming loop: makes experts resident, keeps them while they are used, and says when each matrix is there.
//
// Lock order: the store's mutex, then the reader's. No I/O, conversion or multiplication under either.
#pragma once

#include "base/expert_id.h"
#include "base/status.h"
#include "cache/expert_cache.h"
#include "storage/aligned_memory.h"
#include "storage/async_reader.h"
#include "storage/expert_index.h"
#include "store/staging_pool.h"

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

namespace edgemoe {

// A set of projections, one bit each.
using ProjectionMask = uint8_t;
constexpr ProjectionMask projection_bit(Projection projection) {
    return static_cast<ProjectionMask>(1u << static_cast<unsigned>(projection));
}

// What is done with rows of a matrix when they arrive: a copy, or an interleaving for the machine's kernels.
// Thread-safe: called from any thread, for different rows at the same time.
class RowConverter {
public:
    virtual ~RowConverter() = default;
    // `source` holds `n_rows` rows from `first_row` of the matrix as in the file; they go to `destination`, the same
    // number of bytes. The store only cuts at multiples of kRowGroup rows.
    virtual void convert(const ExpertPart & part, int64_t first_row, int64_t n_rows, const std::byte * source,
                         std::byte * destination) const = 0;
};
constexpr int64_t kRowGroup = 32;

// Counters since the store was made; monotonic, so that differences describe a span.
struct StreamStats {
    uint64_t requests = 0;    // experts asked for: per layer and pass, each expert once
    uint64_t hits = 0;        // of these, all matrices asked for were resident or on their way
    uint64_t read_bytes = 0;  // expert bytes that arrived
    uint64_t evictions = 0;
    double stall_seconds = 0;  // computation waited, averaged over the compute threads
};

class ExpertStore;

// The experts of one layer, for one computation. Several threads may call ready(), data(), progress() and release() at
// once; the rest is for the thread that made it. Experts are admitted in the order asked for, as many at a time as fit
// the budget; release() makes room for the next.
class Lease {
public:
    ~Lease();
    Lease(const Lease &) = delete;
    Lease & operator=(const Lease &) = delete;

    size_t size() const { return entries_.size(); }

    // True for the first lease of its layer in a pass over the layers: the one whose uses are counted.
    bool begins_pass() const { return begins_pass_; }

    // The matrix of the i-th expert asked for, converted; nullptr while it is not there. It stays valid until
    // release(i).
    const std::byte * data(size_t i, Projection projection) const;

    // Converts one arrival, if there is one. With `may_block`, otherwise waits until one came, or another thread made a
    // difference. True: look at data() again. False: nothing came; with `may_block`, nothing will, or the lease has
    // failed.
    bool progress(bool may_block);

    // The computation is done with the i-th expert; it may be evicted, and experts that waited for room are read,
    // unless the lease has failed. Once per expert.
    void release(size_t i);

    // True once a read has failed; status() then says which and why. The computation has to be given up.
    bool failed() const { return failed_.load(std::memory_order_acquire); }
    Status status() const;

private:
    friend class ExpertStore;
    enum class Admission : uint8_t { kWaiting, kAdmitted, kReleased };

    bool holds(int32_t entry) const;  // admitted and not released; REQUIRES the store's mutex

    Lease(ExpertStore & store, int32_t layer, ProjectionMask mask) : store_(store), layer_(layer), mask_(mask) {}

    ExpertStore & store_;
    int32_t layer_;
    ProjectionMask mask_;
    uint64_t number_ = 0;  // from 1, in the order of acquire()
    PolicyTime time_;
    bool begins_pass_ = false;
    std::vector<int32_t> entries_;                    // index into the store's entries
    std::vector<std::atomic<Admission>> admissions_;  // written under the store's mutex
    size_t n_waiting_ = 0;                            // guarded by the store's mutex
    size_t n_admitted_ = 0;                           // guarded by the store's mutex
    std::atomic<bool> failed_{false};
    Status status_;  // guarded by the store's mutex
};

struct ExpertStoreOptions {
    uint64_t cache_bytes = 0;  // the arena: REQUIRES at least the largest slot, ExpertStore::least_cache_bytes()
    std::unique_ptr<EvictionPolicy> policy;
    std::unique_ptr<AsyncReader> reader;
    size_t n_staging = 8;  // reads in flight at once; REQUIRES at least 1
};

// Thread-safe, but one Lease at a time per store: a second one while a Lease lives may fail for want of room.
class ExpertStore {
public:
    // `index` and `converter` outlive the store. kOutOfBudget when the arena cannot be had or is too small.
    static Result<std::unique_ptr<ExpertStore>> create(const ExpertIndex & index, const RowConverter & converter,
                                                       ExpertStoreOptions options);
    ~ExpertStore();
    ExpertStore(const ExpertStore &) = delete;
    ExpertStore & operator=(const ExpertStore &) = delete;

    // Bytes of the slot of an expert, of the smallest cache that works (one expert), and of the read buffers.
    static uint64_t slot_bytes(const ExpertParts & parts);
    static uint64_t least_cache_bytes(const ExpertIndex & index);
    static uint64_t staging_bytes(const ExpertIndex & index, size_t n_staging);
    // Most bytes that one read of a matrix brings.
    static uint64_t read_bytes(const ExpertPart & part);

    // Makes the projections in `mask` of the experts of `layer` resident; does not wait. `experts`: distinct numbers.
    // `uses`: for the policy, by place in `experts`; empty: one token each.
    // Fails with kOutOfBudget when not even one fits, kFormat when an expert does not exist or lacks a projection. What
    // an earlier Lease failed to read, or left behind unread, is read anew.
    Result<std::unique_ptr<Lease>> acquire(int32_t layer, ProjectionMask mask, const std::vector<int32_t> & experts,
                                           const std::vector<ExpertUse> & uses = {});

    // Adds to the statistics the time that `n_threads` compute threads waited in progress(), summed over them.
    void add_stall(double summed_seconds, int n_threads);

    StreamStats stats() const;
    uint64_t cache_bytes() const { return cache_.budget_bytes(); }
    uint64_t resident_bytes() const;
    uint64_t resident_experts() const;
    const ExpertIndex & index() const { return index_; }
    const char * reader_name() const { return reader_->name(); }
    const char * policy_name() const { return cache_.policy_name(); }

private:
    friend class Lease;

    enum class PartState : uint8_t { kAbsent, kReading, kReady };
    struct Entry {
        ExpertId id;
        std::atomic<std::byte *> slot{nullptr};
        std::array<std::atomic<PartState>, kProjectionCount> states;
        std::array<uint64_t, kProjectionCount> part_offsets{};  // in the slot
        std::array<int32_t, kProjectionCount> chunks_left{};    // guarded by mutex_
        ProjectionMask damaged = 0;                             // matrices of which a chunk failed; guarded by mutex_
        Entry() {
            for (auto & state : states) {
                state.store(PartState::kAbsent, std::memory_order_relaxed);
            }
        }
    };
    // A run of rows of a matrix: what one read brings.
    struct Chunk {
        uint64_t lease = 0;  // the one that it was queued for
        int32_t entry = 0;
        Projection projection = Projection::kGate;
        int64_t first_row = 0;
        int64_t n_rows = 0;
        size_t staging = 0;
        uint64_t aligned_offset = 0;
        size_t skip_bytes = 0;  // from the aligned offset to the first byte wanted
    };

    ExpertStore(const ExpertIndex & index, const RowConverter & converter, ExpertStoreOptions options,
                StagingPool staging, AlignedMemory arena);

    int32_t entry_index(ExpertId id) const;
    const ExpertPart & part(const Entry & entry, Projection projection) const;
    Status no_room(int32_t layer) const;
    bool take_arrivals(Lease & lease, bool may_block);
    void finish(Lease & lease, const Chunk & chunk, const ReadCompletion & completion);

    // These REQUIRE mutex_ held.
    void start_pass(int32_t layer, ProjectionMask mask);
    void admit(Lease & lease);
    void queue_part(const Lease & lease, int32_t entry, Projection projection);
    void submit_queued(std::vector<ReadRequest> * requests);
    void drop_queued(uint64_t lease);
    void forget(const std::vector<ExpertId> & evicted);
    void hand_out(std::vector<ReadCompletion> * completions);
    bool finish_chunk(const Chunk & chunk);
    void fail(Lease & lease, const Chunk & chunk, const Status & status);
    void unpin(int32_t entry);
    bool reads_left() const;
    void announce_change();

    const ExpertIndex & index_;
    const RowConverter & converter_;
    std::vector<Entry> entries_;
    std::vector<int32_t> first_entry_;  // by layer number, -1: no experts

    mutable std::mutex mutex_;
    ExpertCache cache_;  // guarded by mutex_
    AlignedMemory arena_;
    StagingPool staging_;                            // guarded by mutex_
    std::deque<Chunk> queue_;                        // reads that wait for a buffer; guarded by mutex_
    std::unordered_map<uint64_t, Chunk> in_flight_;  // guarded by mutex_
    std::deque<ReadCompletion> arrived_;             // out of the reader, taken by no thread; guarded by mutex_
    uint64_t next_read_id_ = 1;                      // guarded by mutex_
    uint64_t n_leases_ = 0;                          // guarded by mutex_
    int n_converting_ = 0;                           // arrivals being converted; guarded by mutex_
    bool waits_in_reader_ = false;                   // a thread does; guarded by mutex_
    uint64_t n_changes_ = 0;                         // guarded by mutex_
    std::condition_variable changed_;
    PolicyTime time_;                      // guarded by mutex_
    ProjectionMask pass_mask_ = 0;         // projections asked for in this layer and pass; guarded by mutex_
    StreamStats stats_;                    // guarded by mutex_
    std::unique_ptr<AsyncReader> reader_;  // last: its destructor waits for reads into staging_
};

}  // namespace edgemoe
