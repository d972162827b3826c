// The streaming loop: makes experts resident, keeps them while they are used, and says when each matrix is there.
//
// Lock order: the store's mutex, then the reader's; they are not held together. No I/O, conversion or multiplication
// under either.
#pragma once

#include "base/awake_mutex.h"
#include "base/expert_id.h"
#include "base/status.h"
#include "cache/expert_cache.h"
#include "cache/streaming_rule.h"
#include "predict/expert_forecast.h"
#include "storage/aligned_memory.h"
#include "storage/async_reader.h"
#include "storage/expert_index.h"
#include "storage/memory_advice.h"
#include "store/chunk_queue.h"
#include "store/expert_table.h"
#include "store/lease.h"
#include "store/mapped_experts.h"
#include "store/prefetch_scheduler.h"
#include "store/ring.h"
#include "store/row_converter.h"

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

namespace edgemoe {

// Counters since the store was made; monotonic, so that differences describe a span.
struct StreamStats {
    uint64_t requests = 0;    // experts asked for: per layer and pass, each expert once
    uint64_t hits = 0;        // of these, all matrices asked for were resident or on their way
    uint64_t read_bytes = 0;  // expert bytes that arrived
    uint64_t evictions = 0;
    double stall_seconds = 0;  // computation waited, averaged over the compute threads
    PrefetchStats prefetch;
};

constexpr uint64_t kMostJoinedBytes = 128 * 1024;

struct ExpertStoreOptions {
    uint64_t cache_bytes = 0;  // REQUIRES at least the largest slot, ExpertStore::least_cache_bytes()
    std::unique_ptr<EvictionPolicy> policy;
    std::unique_ptr<AsyncReader> reader;
    size_t n_staging = 8;  // reads in flight at once; REQUIRES at least 1
    // Matrices of an expert that follow each other in the file are read at once up to so many bytes: each read costs
    // the processor tens of microseconds, which small matrices feel; large ones are multiplied sooner one by one.
    uint64_t most_joined_bytes = kMostJoinedBytes;
    bool lock_memory = false;  // keep the arena out of swap
    // Matrices are used where the files are mapped: nothing is copied or converted, `reader` is make_mmap_reader()'s,
    // and cache_bytes limits what is kept of the page cache.
    bool in_place = false;
    Prefetch prefetch = Prefetch::kOff;
};

// Thread-safe, but one Lease at a time per store: a second one while a Lease lives may fail for want of room.
class ExpertStore {
public:
    // `index` and `converter` outlive the store. kOutOfBudget when the arena cannot be had or is too small,
    // kIo when a file cannot be mapped.
    static Result<std::unique_ptr<ExpertStore>> create(const ExpertIndex & index, const RowConverter & converter,
                                                       ExpertStoreOptions options);
    ~ExpertStore();
    ExpertStore(const ExpertStore &) = delete;
    ExpertStore & operator=(const ExpertStore &) = delete;

    // Bytes of the slot of an expert, of the smallest cache that works (one expert), and of the read buffers.
    static uint64_t slot_bytes(const ExpertParts & parts);
    static uint64_t least_cache_bytes(const ExpertIndex & index);
    static uint64_t staging_bytes(const ExpertIndex & index, size_t n_staging,
                                  uint64_t most_joined_bytes = kMostJoinedBytes);

    // Makes the projections in `mask` of the experts of `layer` resident; does not wait. `experts`: distinct numbers.
    // `uses`: for the policy, by place in `experts`; empty: one token each.
    // Fails with kOutOfBudget when not even one fits, kFormat when an expert does not exist or lacks a projection, in
    // place with kIo when a file has changed since it was opened (looked at once a pass). What an earlier Lease failed
    // to read, or left behind unread, is read anew. No Lease outlives the store.
    Result<LeasePtr> acquire(int32_t layer, ProjectionMask mask, const std::vector<int32_t> & experts,
                             const std::vector<ExpertUse> & uses = {});

    // False: forecasts are work for nothing, in this pass over the layers: it is not read ahead. Takes no lock.
    bool wants_forecasts() const { return wants_forecasts_.load(std::memory_order_relaxed); }
    // What is likely wanted next; replaces the forecasts of earlier calls for the same layers. Never blocks on I/O. For
    // once per layer, after the acquire() that begins it, on any thread. Ids that do not exist are ignored, and
    // everything is while !wants_forecasts().
    void forecast(const std::vector<ExpertForecast> & experts);
    // For the eviction policy: how soon and how often each of the `n` experts of `layer` will be used (larger: sooner,
    // more often). Borrowed for the call.
    void score_next_use(int32_t layer, const float * scores, size_t n);
    // False: nobody goes by them. Takes no lock.
    bool wants_scores() const { return cache_.takes_scores(); }

    // Reads `experts`, in order, into free slots, one after the other and only while nothing is read that was asked
    // for. Returns when all are there, no slot is free, or *stop is true, which is looked at after wake(). For a thread
    // of its own, one at a time.
    void prewarm(const std::vector<ExpertId> & experts, const std::atomic<bool> & stop);
    void wake();
    // In how many passes each expert was chosen, by layer and expert number.
    struct Use {
        ExpertId id;
        uint64_t n_uses = 0;
    };
    std::vector<Use> uses() const;

    // How well forecasts named what was chosen, since the store was made. Empty with Prefetch::kOff.
    std::vector<LayerRecall> recall() const;

    // Gives up every slot, so that what comes next is read and converted anew. Waits for reads that are on their way.
    // REQUIRES: no Lease lives, prewarm() does not run.
    void evict_all();

    // What a layer took, from the end of the one before it, and of this what computation waited in progress(), averaged
    // over its threads.
    void add_layer_time(double seconds, double stall_seconds);

    StreamStats stats() const;
    uint64_t cache_bytes() const { return cache_.budget_bytes(); }
    uint64_t resident_bytes() const;
    // Of the cache and the read buffers, what takes no memory yet because nothing was put there. Takes no lock.
    uint64_t untouched_bytes() const { return arena_.size_bytes() - touched_bytes(arena_.data(), arena_.size_bytes()); }
    uint64_t resident_experts() const;
    const ExpertIndex & index() const { return index_; }
    const char * reader_name() const { return reader_->name(); }
    const char * policy_name() const { return cache_.policy_name(); }

private:
    friend class Lease;

    // Lists that a thread fills without the lock; kept and reused.
    struct Errands {
        std::vector<ReadRequest> requests;
        std::vector<ReadCompletion> completions;
        std::vector<MappedExperts::Span> unmapped;
        std::vector<uint64_t> cancelled;  // ids of reads
        std::vector<uint64_t> promoted;   // the same
    };

    ExpertStore(const ExpertIndex & index, const RowConverter & converter, ExpertStoreOptions options,
                AlignedMemory arena, std::unique_ptr<MappedExperts> mapped);

    // Everything below REQUIRES mutex_, but what says otherwise.

    // expert_store.cpp
    Status resolve(int32_t layer, ProjectionMask mask, const std::vector<int32_t> & experts,
                   std::vector<int32_t> * entries) const;
    Status no_room(int32_t layer) const;
    void release(Lease & lease, size_t i);  // takes mutex_
    void end(Lease & lease);                // takes mutex_
    void unpin(Lease & lease, size_t i);
    void submit_and_unlock(std::unique_lock<AwakeMutex> & lock);
    std::unique_ptr<Errands> borrow_errands();

    // admission.cpp
    bool start_pass(int32_t layer, ProjectionMask mask);
    std::optional<StreamLimits> stream_limits(const Lease & lease) const;
    void count_uses(const Lease & lease, const std::vector<ExpertUse> & uses);
    void pin_residents(Lease & lease);
    void choose_settling(const Lease & lease);
    void admit(Lease & lease);
    bool insert(const Lease & lease, ExpertEntry & entry);
    void take_slot(ExpertEntry & entry);
    void forget_evicted();
    void forget(ExpertEntry & entry);
    void queue_absent(const Lease & lease, int32_t entry, ProjectionMask mask);
    uint64_t queue_reads(uint64_t lease, ReadPurpose purpose, int32_t entry, ProjectionMask mask);
    void drop_queued(uint64_t lease);

    // read_ahead.cpp
    void promote(const Lease & lease, int32_t entry);
    void make_way();
    void withdraw_all();
    void withdraw_stale();
    template <typename Goes>
    void withdraw(Goes goes);
    void read_ahead();
    void unpin_released();
    bool is_wanted_otherwise();
    bool has_demand_to_read();
    bool insert_forecast(int32_t entry);
    bool prewarm_one(int32_t entry);
    bool take_background_arrival(std::unique_lock<AwakeMutex> & lock);
    void give_back_if_empty(int32_t entry);
    bool is_stale(const Chunk & chunk) const;
    void account(const Chunk & chunk, const Status & status);
    size_t n_arrived_ahead();

    // arrivals.cpp
    bool take_arrival(Lease & lease, bool may_block);  // takes mutex_
    void ask_reader(size_t (AsyncReader::*ask)(std::vector<ReadCompletion> *), std::unique_lock<AwakeMutex> & lock);
    Status convert(const JoinedChunks & read, const Chunk & chunk,
                   const ReadCompletion & completion);  // without mutex_
    void convert_unlocked(Lease * lease, const ReadCompletion & completion, std::unique_lock<AwakeMutex> & lock);
    void finish(Lease * lease, const Chunk & chunk, const Status & status);
    void finish_unread(const ReadCompletion & completion);
    void finish_unread(const Chunk & chunk, const Status & status);
    bool finish_chunk(const Chunk & chunk);
    void fail(Lease & lease, const Chunk & chunk, const Status & status);
    void announce_change();
    void wait_for_change(std::unique_lock<AwakeMutex> & lock);
    bool reads_left() const { return !reads_.idle(); }
    bool is_reader_busy() const { return reads_.n_in_flight() > n_converting_ + arrived_.size(); }

    const ExpertIndex & index_;
    const RowConverter & converter_;
    AlignedMemory arena_;                    // the read buffers, then the slots; empty in place
    std::unique_ptr<MappedExperts> mapped_;  // in place, otherwise nullptr; guarded as its head says

    mutable AwakeMutex mutex_;
    ExpertTable experts_;  // guarded by mutex_, as its head says
    ExpertCache cache_;    // this and all below guarded by mutex_
    StreamingRule rule_;
    ChunkQueue reads_;
    std::byte * const slots_;       // in arena_
    Ring<ReadCompletion> arrived_;  // out of the reader, taken by no thread
    uint64_t n_leases_ = 0;
    size_t n_converting_ = 0;             // arrivals being converted
    size_t n_converting_demand_ = 0;      // of these, those that were asked for when it began
    bool waits_in_reader_ = false;        // a thread does
    std::atomic<uint64_t> n_changes_{0};  // written with mutex_
    std::condition_variable_any changed_;
    PolicyTime time_;
    ProjectionMask pass_mask_ = 0;  // projections asked for in this layer and pass
    StreamStats stats_;
    double pass_seconds_ = 0;        // of the layers of this pass
    double pass_stall_seconds_ = 0;  // of this pass over the layers
    PrefetchScheduler scheduler_;
    Lease * lease_ = nullptr;                    // the latest that lives
    bool has_unseen_room_ = false;               // a slot was unpinned, and nobody told a lease that waits
    std::vector<uint64_t> cancelled_;            // ids of reads, to be told to the reader without the lock
    std::vector<uint64_t> promoted_;             // the same
    std::vector<ExpertId> evicted_;              // by the latest insertion
    std::vector<int32_t> admitted_;              // of admit() alone
    std::vector<ExpertCache::Absent> absent_;    // of choose_settling() alone
    std::vector<MappedExperts::Span> unmapped_;  // evicted in place, to be dropped without the lock
    std::vector<std::unique_ptr<Lease>> idle_leases_;
    std::vector<std::unique_ptr<Errands>> idle_errands_;
    std::atomic<bool> wants_forecasts_;    // as scheduler_'s, for who does not hold the lock
    std::atomic<size_t> n_ahead_{0};       // as reads_.n_ahead_in_flight(), for who does not hold the lock
    std::unique_ptr<AsyncReader> reader_;  // not guarded; last: its destructor waits for reads into the buffers
};

}  // namespace edgemoe
