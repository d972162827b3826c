// Invariants, under mutex_:
//   * An expert has a slot in the cache exactly while its entry's `is_resident` is set.
//   * Each part that is kReading holds one pin of its expert, so a slot is never reused while bytes are on their way to
//     it; each expert of a living Lease that is admitted, or kReleased, holds another.
//   * A read is in flight in reads_ until its chunk was finished; a completion in arrived_ still is.
//   * At most one thread waits in the reader; the others wait for n_changes_, awake at first, then asleep on changed_.
//     Whoever changes what they may wait for (arrived_, a part's state, an admission, a failure) raises it and wakes
//     them.
// This file: making a store, and the beginning and end of leases. admission.cpp: who gets a slot. arrivals.cpp: what
// becomes of reads. read_ahead.cpp: what is read before it is asked for.
#include "store/expert_store.h"

#include "base/checked.h"
#include "storage/memory_advice.h"

#include <algorithm>
#include <string>
#include <utility>

namespace edgemoe {
namespace {

MatrixBytes matrix_bytes(const ExpertParts & parts) {
    MatrixBytes bytes{};
    for (size_t p = 0; p < kProjectionCount; p++) {
        bytes[p] = parts[p].present ? parts[p].bytes : 0;
    }
    return bytes;
}

PolicyShape shape_of(const ExpertIndex & index) {
    PolicyShape shape;
    for (const ExpertLayer & layer : index.layers()) {
        shape.n_layers = std::max(shape.n_layers, layer.layer + 1);
        shape.n_experts = std::max(shape.n_experts, static_cast<int32_t>(layer.experts.size()));
    }
    return shape;
}

StreamingRule streaming_rule(uint64_t budget_bytes, const ExpertIndex & index) {
    std::vector<uint64_t> layer_bytes;
    for (const ExpertLayer & layer : index.layers()) {
        layer_bytes.resize(static_cast<size_t>(layer.layer) + 1, 0);
        for (const ExpertParts & parts : layer.experts) {
            layer_bytes.back() += ExpertStore::slot_bytes(parts);
        }
    }
    return {budget_bytes, std::move(layer_bytes), ExpertStore::least_cache_bytes(index), index.n_experts_used()};
}

}  // namespace

uint64_t ExpertStore::slot_bytes(const ExpertParts & parts) {
    return ExpertCache::slot_bytes(matrix_bytes(parts));
}

uint64_t ExpertStore::least_cache_bytes(const ExpertIndex & index) {
    uint64_t most = 0;
    for (const ExpertLayer & layer : index.layers()) {
        for (const ExpertParts & parts : layer.experts) {
            most = std::max(most, slot_bytes(parts));
        }
    }
    return most;
}

uint64_t ExpertStore::staging_bytes(const ExpertIndex & index, size_t n_staging, uint64_t most_joined_bytes) {
    return ChunkQueue::buffer_bytes(index, most_joined_bytes) * n_staging;
}

Result<std::unique_ptr<ExpertStore>> ExpertStore::create(const ExpertIndex & index, const RowConverter & converter,
                                                         ExpertStoreOptions options) {
    const uint64_t least = least_cache_bytes(index);
    std::unique_ptr<MappedExperts> mapped;
    if (options.in_place) {
        Result<std::unique_ptr<MappedExperts>> made = MappedExperts::create(index);
        if (!made.is_ok()) {
            return made.status();
        }
        mapped = std::move(made).value();
        options.cache_bytes = MappedExperts::matrix_budget(index, options.cache_bytes);
    }
    if (options.cache_bytes < least) {
        return Status(StatusCode::kOutOfBudget, "an expert cache of " + std::to_string(options.cache_bytes) +
                                                    " bytes does not hold one expert; the least is " +
                                                    std::to_string(least) + " bytes");
    }
    // Buffers and slots are one mapping, since few buffers alone would not fill a huge page.
    uint64_t bytes = 0;
    if (!options.in_place &&
        !checked_add(staging_bytes(index, options.n_staging, options.most_joined_bytes), options.cache_bytes, &bytes)) {
        bytes = SIZE_MAX;  // which is refused
    }
    Result<AlignedMemory> arena = AlignedMemory::allocate(bytes, AlignedMemory::Access::kReadWrite);
    if (!arena.is_ok()) {
        return arena.status();
    }
    if (options.lock_memory) {
        const Status locked = lock_in_memory(arena.value().data(), arena.value().size_bytes());
        if (!locked.is_ok()) {
            return locked;
        }
    }
    return std::unique_ptr<ExpertStore>(
        new ExpertStore(index, converter, std::move(options), std::move(arena).value(), std::move(mapped)));
}

ExpertStore::ExpertStore(const ExpertIndex & index, const RowConverter & converter, ExpertStoreOptions options,
                         AlignedMemory arena, std::unique_ptr<MappedExperts> mapped)
    : index_(index),
      converter_(converter),
      arena_(std::move(arena)),
      mapped_(std::move(mapped)),
      experts_(index),
      cache_(options.cache_bytes, shape_of(index), std::move(options.policy),
             mapped_ != nullptr ? ExpertCache::Placement::kCounted : ExpertCache::Placement::kArena),
      rule_(streaming_rule(options.cache_bytes, index)),
      reads_(arena_.data(), options.n_staging,
             mapped_ != nullptr ? 0 : ChunkQueue::buffer_bytes(index, options.most_joined_bytes),
             options.most_joined_bytes),
      slots_(arena_.data() + reads_.buffers_bytes()),
      arrived_(options.n_staging),
      scheduler_(options.prefetch, index, experts_, cache_, options.n_staging),
      wants_forecasts_(scheduler_.wants_forecasts()),
      reader_(std::move(options.reader)) {
    reader_->prepare(index.files(), reads_.buffers(), reads_.buffers_bytes());
}

ExpertStore::~ExpertStore() = default;

Status ExpertStore::no_room(int32_t layer) const {
    return Status(StatusCode::kOutOfBudget, "the expert cache of " + std::to_string(cache_.budget_bytes()) +
                                                " bytes has no room for an expert of blk." + std::to_string(layer) +
                                                "; give it more memory");
}

// The entries of `experts`, or why one of them cannot be had.
Status ExpertStore::resolve(int32_t layer, ProjectionMask mask, const std::vector<int32_t> & experts,
                            std::vector<int32_t> * entries) const {
    entries->clear();
    for (const int32_t expert : experts) {
        const auto refused = [&](const std::string & reason) {
            return Status(StatusCode::kFormat,
                          "blk." + std::to_string(layer) + " expert " + std::to_string(expert) + ": " + reason);
        };
        const int32_t entry = experts_.find({layer, expert});
        if (entry < 0) {
            return refused("the router chose an expert that does not exist");
        }
        for (size_t p = 0; p < kProjectionCount; p++) {
            if (has_projection(mask, p) && !(*experts_[entry].parts)[p].present) {
                return refused(std::string("has no ") + kProjectionNames[p] + " matrix");
            }
        }
        entries->push_back(entry);
    }
    return Status::ok();
}

Result<LeasePtr> ExpertStore::acquire(int32_t layer, ProjectionMask mask, const std::vector<int32_t> & experts,
                                      const std::vector<ExpertUse> & uses) {
    assert(uses.empty() || uses.size() == experts.size());
    std::unique_lock<AwakeMutex> lock(mutex_);
    if (reads_.n_ahead_in_flight() > 0) {
        ask_reader(&AsyncReader::reap, lock);  // what is over is not in the way
    }
    if (idle_leases_.empty()) {
        idle_leases_.emplace_back(new Lease(*this));
    }
    Lease & lease = *idle_leases_.back();
    if (Status status = resolve(layer, mask, experts, &lease.entries_); !status.is_ok()) {
        return status;
    }
    if (start_pass(layer, mask) && mapped_ != nullptr) {
        if (Status status = mapped_->check_unchanged(); !status.is_ok()) {
            return status;
        }
    }
    lease.begin(layer, mask);
    LeasePtr handle(idle_leases_.back().release());
    idle_leases_.pop_back();

    lease.number_ = ++n_leases_;
    lease.time_ = time_;
    const bool first_of_pass = pass_mask_ == 0;
    lease.begins_pass_ = first_of_pass;
    pass_mask_ = static_cast<ProjectionMask>(pass_mask_ | mask);
    lease.stream_ = stream_limits(lease);
    lease_ = &lease;
    if (first_of_pass) {
        count_uses(lease, uses);
    }
    pin_residents(lease);
    if (lease.waits() || reads_.has_queued_demand()) {
        make_way();
    } else if (first_of_pass) {
        withdraw_stale();
    }
    if (lease.stream_) {
        choose_settling(lease);
    }
    admit(lease);
    read_ahead();
    // Reads that an earlier lease left behind hold their slots only until they end; finish() admits then.
    const bool is_admitted = lease.n_admitted_ > 0 || experts.empty() || reads_left();
    submit_and_unlock(lock);
    if (!is_admitted) {
        return no_room(layer);
    }
    return handle;
}

// The slow way of Lease::release(): others wait for the room.
void ExpertStore::release(Lease & lease, size_t i) {
    std::unique_lock<AwakeMutex> lock(mutex_);
    unpin(lease, i);
    if (lease.waits() && !lease.failed()) {
        admit(lease);
        announce_change();
        submit_and_unlock(lock);
    }
}

void ExpertStore::unpin(Lease & lease, size_t i) {
    lease.admissions_[i].store(Lease::Admission::kUnpinned, std::memory_order_release);
    lease.n_admitted_--;
    cache_.unpin(experts_[lease.entries_[i]].id);
}

void ExpertStore::end(Lease & lease) {
    std::unique_lock<AwakeMutex> lock(mutex_);
    bool given_up = false;
    for (size_t i = 0; i < lease.size(); i++) {
        const Lease::Admission admission = lease.admission(i);
        if (admission == Lease::Admission::kAdmitted || admission == Lease::Admission::kReleased) {
            cache_.unpin(experts_[lease.entries_[i]].id);
        }
        given_up = given_up || admission == Lease::Admission::kAdmitted || admission == Lease::Admission::kWaiting;
    }
    if (given_up) {
        drop_queued(lease.number_);  // nobody waits for these reads
        announce_change();
    }
    lease_ = lease_ == &lease ? nullptr : lease_;
    idle_leases_.emplace_back(&lease);
    // Before the layer is over, its own experts would be the first to leave, and be read again.
    if (scheduler_.is_on() && lease.ends_layer()) {
        scheduler_.forget_refusals();  // what was pinned may leave
        read_ahead();
        submit_and_unlock(lock);
    }
}

// Drops what was evicted in place, tells the reader what has changed and starts what is queued, all without the lock.
void ExpertStore::submit_and_unlock(std::unique_lock<AwakeMutex> & lock) {
    std::unique_ptr<Errands> errands = borrow_errands();
    reads_.start(&errands->requests, has_demand_to_read() ? 0 : scheduler_.most_reads());
    n_ahead_.store(reads_.n_ahead_in_flight(), std::memory_order_relaxed);
    errands->unmapped.swap(unmapped_);
    errands->cancelled.swap(cancelled_);
    errands->promoted.swap(promoted_);
    if (!errands->requests.empty() || !errands->unmapped.empty() || !errands->cancelled.empty() ||
        !errands->promoted.empty()) {
        lock.unlock();
        for (const uint64_t read_id : errands->cancelled) {
            reader_->cancel(read_id);
        }
        for (const uint64_t read_id : errands->promoted) {
            reader_->promote(read_id);
        }
        errands->cancelled.clear();
        errands->promoted.clear();
        // If one of these experts is read again by now, its pages come back when they are touched.
        std::for_each(errands->unmapped.begin(), errands->unmapped.end(), MappedExperts::drop);
        errands->unmapped.clear();
        reader_->submit(errands->requests);
        errands->requests.clear();
        lock.lock();
    }
    idle_errands_.push_back(std::move(errands));
    lock.unlock();
}

std::unique_ptr<ExpertStore::Errands> ExpertStore::borrow_errands() {
    if (idle_errands_.empty()) {
        return std::make_unique<Errands>();
    }
    std::unique_ptr<Errands> errands = std::move(idle_errands_.back());
    idle_errands_.pop_back();
    return errands;
}

void ExpertStore::evict_all() {
    std::unique_lock<AwakeMutex> lock(mutex_);
    withdraw_all();
    submit_and_unlock(lock);
    lock.lock();
    while (reads_left()) {
        while (!arrived_.empty()) {
            finish_unread(arrived_.pop());
        }
        if (is_reader_busy()) {
            ask_reader(&AsyncReader::wait, lock);
        } else if (reads_left()) {
            submit_and_unlock(lock);
            lock.lock();
        }
    }
    for (ExpertEntry & entry : experts_.entries()) {
        if (entry.is_resident) {
            cache_.remove(entry.id);
            forget(entry);
        }
    }
    submit_and_unlock(lock);
}

void ExpertStore::score_next_use(int32_t layer, const float * scores, size_t n) {
    const std::lock_guard<AwakeMutex> lock(mutex_);
    cache_.score_next_use(layer, scores, n);
}

void ExpertStore::add_layer_time(double seconds, double stall_seconds) {
    const std::lock_guard<AwakeMutex> lock(mutex_);
    stats_.stall_seconds += stall_seconds;
    pass_seconds_ += seconds;
    pass_stall_seconds_ += stall_seconds;
}

StreamStats ExpertStore::stats() const {
    const std::lock_guard<AwakeMutex> lock(mutex_);
    StreamStats stats = stats_;
    stats.prefetch = scheduler_.stats();
    return stats;
}

uint64_t ExpertStore::resident_bytes() const {
    const std::lock_guard<AwakeMutex> lock(mutex_);
    return cache_.used_bytes();
}

uint64_t ExpertStore::resident_experts() const {
    const std::lock_guard<AwakeMutex> lock(mutex_);
    return cache_.size();
}

}  // namespace edgemoe
