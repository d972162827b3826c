// Invariants, under mutex_:
//   * An expert has a slot in the cache exactly while its entry's `slot` is not null.
//   * Each part that is kReading holds one pin of its expert, so a slot is never reused while bytes are on their way to
//     it; each admitted expert of a living Lease holds another.
//   * A staging buffer is free, or belongs to exactly one chunk, in in_flight_ or being converted.
//   * A read is in in_flight_ until a thread takes its completion; a completion in arrived_ still is.
//   * At most one thread waits in the reader; the others sleep on changed_, and whoever changes what they may wait for
//     (arrived_, a part's state, an admission, a failure) raises n_changes_ and wakes them.
#include "store/expert_store.h"

#include "base/checked.h"

#include <algorithm>
#include <cassert>
#include <iterator>
#include <string>

namespace edgemoe {

namespace {

constexpr uint64_t kChunkBytes = 1 << 20;  // one read
constexpr uint64_t kPartAlignment = ExpertCache::kGranularity;

int64_t chunk_rows(const ExpertPart & part) {
    const uint64_t row_bytes = part.bytes / static_cast<uint64_t>(part.rows);
    const int64_t groups = static_cast<int64_t>(kChunkBytes / std::max<uint64_t>(1, row_bytes * kRowGroup));
    return std::max<int64_t>(1, groups) * kRowGroup;
}

uint64_t staging_buffer_bytes(const ExpertIndex & index) {
    uint64_t most = 0;
    for (const ExpertLayer & layer : index.layers()) {
        for (const ExpertParts & parts : layer.experts) {
            for (const ExpertPart & part : parts) {
                if (part.present) {
                    most = std::max(most, ExpertStore::read_bytes(part));
                }
            }
        }
    }
    return align_up(most, kDirectAlignment) + 2 * kDirectAlignment;
}

}  // namespace

// ---- Lease ----

Lease::~Lease() {
    std::lock_guard<std::mutex> lock(store_.mutex_);
    bool given_up = false;
    for (size_t i = 0; i < admissions_.size(); i++) {
        const Admission admission = admissions_[i].load(std::memory_order_relaxed);
        if (admission == Admission::kAdmitted) {
            store_.unpin(entries_[i]);
        }
        given_up = given_up || admission != Admission::kReleased;
    }
    if (given_up) {
        store_.drop_queued(number_);  // nobody waits for these reads
    }
}

const std::byte * Lease::data(size_t i, Projection projection) const {
    if (admissions_[i].load(std::memory_order_acquire) != Admission::kAdmitted) {
        return nullptr;
    }
    const ExpertStore::Entry & entry = store_.entries_[entries_[i]];
    if (entry.states[static_cast<size_t>(projection)].load(std::memory_order_acquire) !=
        ExpertStore::PartState::kReady) {
        return nullptr;
    }
    return entry.slot.load(std::memory_order_relaxed) + entry.part_offsets[static_cast<size_t>(projection)];
}

bool Lease::progress(bool may_block) {
    return store_.take_arrivals(*this, may_block);
}

void Lease::release(size_t i) {
    std::vector<ReadRequest> requests;
    {
        std::lock_guard<std::mutex> lock(store_.mutex_);
        assert(admissions_[i].load(std::memory_order_relaxed) == Admission::kAdmitted);
        admissions_[i].store(Admission::kReleased, std::memory_order_release);
        n_admitted_--;
        store_.unpin(entries_[i]);
        if (n_waiting_ > 0 && !failed()) {
            store_.admit(*this);
            store_.submit_queued(&requests);
            store_.announce_change();
        }
    }
    if (!requests.empty()) {
        store_.reader_->submit(requests);
    }
}

bool Lease::holds(int32_t entry) const {
    for (size_t i = 0; i < entries_.size(); i++) {
        if (entries_[i] == entry) {
            return admissions_[i].load(std::memory_order_relaxed) == Admission::kAdmitted;
        }
    }
    return false;
}

Status Lease::status() const {
    std::lock_guard<std::mutex> lock(store_.mutex_);
    return status_;
}

// ---- ExpertStore ----

uint64_t ExpertStore::slot_bytes(const ExpertParts & parts) {
    uint64_t bytes = 0;
    for (const ExpertPart & part : parts) {
        if (part.present) {
            bytes += align_up(part.bytes, kPartAlignment);
        }
    }
    return bytes;
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

uint64_t ExpertStore::read_bytes(const ExpertPart & part) {
    const uint64_t row_bytes = part.bytes / static_cast<uint64_t>(part.rows);
    return std::min<uint64_t>(part.bytes, row_bytes * static_cast<uint64_t>(chunk_rows(part)));
}

uint64_t ExpertStore::staging_bytes(const ExpertIndex & index, size_t n_staging) {
    return staging_buffer_bytes(index) * n_staging;
}

Result<std::unique_ptr<ExpertStore>> ExpertStore::create(const ExpertIndex & index, const RowConverter & converter,
                                                         ExpertStoreOptions options) {
    const uint64_t least = least_cache_bytes(index);
    if (options.cache_bytes < least) {
        return Status(StatusCode::kOutOfBudget, "an expert cache of " + std::to_string(options.cache_bytes) +
                                                    " bytes does not hold one expert; the least is " +
                                                    std::to_string(least) + " bytes");
    }
    Result<StagingPool> staging = StagingPool::create(options.n_staging, staging_buffer_bytes(index));
    if (!staging.is_ok()) {
        return staging.status();
    }
    Result<AlignedMemory> arena = AlignedMemory::allocate(options.cache_bytes, AlignedMemory::Access::kReadWrite);
    if (!arena.is_ok()) {
        return arena.status();
    }
    return std::unique_ptr<ExpertStore>(
        new ExpertStore(index, converter, std::move(options), std::move(staging).value(), std::move(arena).value()));
}

ExpertStore::ExpertStore(const ExpertIndex & index, const RowConverter & converter, ExpertStoreOptions options,
                         StagingPool staging, AlignedMemory arena)
    : index_(index),
      converter_(converter),
      entries_(index.n_experts()),
      cache_(options.cache_bytes, std::move(options.policy)),
      arena_(std::move(arena)),
      staging_(std::move(staging)),
      reader_(std::move(options.reader)) {
    int32_t next = 0;
    for (const ExpertLayer & layer : index.layers()) {
        first_entry_.resize(static_cast<size_t>(layer.layer) + 1, -1);
        first_entry_[static_cast<size_t>(layer.layer)] = next;
        for (size_t expert = 0; expert < layer.experts.size(); expert++) {
            Entry & entry = entries_[static_cast<size_t>(next++)];
            entry.id = {layer.layer, static_cast<int32_t>(expert)};
            uint64_t offset = 0;
            for (size_t p = 0; p < kProjectionCount; p++) {
                const ExpertPart & part = layer.experts[expert][p];
                if (part.present) {
                    entry.part_offsets[p] = offset;
                    offset += align_up(part.bytes, kPartAlignment);
                }
            }
        }
    }
}

ExpertStore::~ExpertStore() = default;

int32_t ExpertStore::entry_index(ExpertId id) const {
    if (id.layer < 0 || static_cast<size_t>(id.layer) >= first_entry_.size() ||
        first_entry_[static_cast<size_t>(id.layer)] < 0 || index_.find(id) == nullptr) {
        return -1;
    }
    return first_entry_[static_cast<size_t>(id.layer)] + id.expert;
}

const ExpertPart & ExpertStore::part(const Entry & entry, Projection projection) const {
    return index_.parts(entry.id)[static_cast<size_t>(projection)];
}

// A new pass over the layers begins when a layer is asked for again, or an earlier one: one ubatch, one step.
void ExpertStore::start_pass(int32_t layer, ProjectionMask mask) {
    if (layer < time_.layer || (layer == time_.layer && (pass_mask_ & mask) != 0)) {
        time_.step++;
        pass_mask_ = 0;
    }
    if (layer != time_.layer) {
        time_.layer = layer;
        pass_mask_ = 0;
    }
}

Status ExpertStore::no_room(int32_t layer) const {
    return Status(StatusCode::kOutOfBudget, "the expert cache of " + std::to_string(cache_.budget_bytes()) +
                                                " bytes has no room for an expert of blk." + std::to_string(layer) +
                                                "; give it more memory");
}

Result<std::unique_ptr<Lease>> ExpertStore::acquire(int32_t layer, ProjectionMask mask,
                                                    const std::vector<int32_t> & experts,
                                                    const std::vector<ExpertUse> & uses) {
    assert(uses.empty() || uses.size() == experts.size());
    std::unique_ptr<Lease> lease(new Lease(*this, layer, mask));
    lease->entries_.reserve(experts.size());
    for (int32_t expert : experts) {
        const auto refused = [&](const std::string & reason) {
            return Status(StatusCode::kFormat,
                          "blk." + std::to_string(layer) + " expert " + std::to_string(expert) + ": " + reason);
        };
        const int32_t entry = entry_index({layer, expert});
        if (entry < 0) {
            return refused("the router chose an expert that does not exist");
        }
        for (size_t p = 0; p < kProjectionCount; p++) {
            if ((mask & (1u << p)) != 0 && !index_.parts({layer, expert})[p].present) {
                return refused(std::string("has no ") + kProjectionNames[p] + " matrix");
            }
        }
        lease->entries_.push_back(entry);
    }
    lease->admissions_ = std::vector<std::atomic<Lease::Admission>>(experts.size());
    for (auto & admission : lease->admissions_) {
        admission.store(Lease::Admission::kWaiting, std::memory_order_relaxed);
    }

    std::vector<ReadRequest> requests;
    bool admitted = true;
    {
        std::lock_guard<std::mutex> lock(mutex_);
        lease->number_ = ++n_leases_;
        start_pass(layer, mask);
        lease->time_ = time_;
        lease->n_waiting_ = experts.size();
        const bool first_of_pass = pass_mask_ == 0;
        lease->begins_pass_ = first_of_pass;
        pass_mask_ = static_cast<ProjectionMask>(pass_mask_ | mask);

        for (size_t i = 0; i < lease->entries_.size(); i++) {
            Entry & entry = entries_[static_cast<size_t>(lease->entries_[i])];
            if (first_of_pass) {
                cache_.record_use(entry.id, time_, uses.empty() ? ExpertUse() : uses[i]);
                stats_.requests++;
                bool there = entry.slot.load(std::memory_order_relaxed) != nullptr;
                for (size_t p = 0; p < kProjectionCount && there; p++) {
                    there = (mask & (1u << p)) == 0 ||
                            entry.states[p].load(std::memory_order_relaxed) != PartState::kAbsent;
                }
                stats_.hits += there ? 1 : 0;
            }
        }
        // Residents are pinned before anything is evicted for the others.
        for (size_t i = 0; i < lease->entries_.size(); i++) {
            Entry & entry = entries_[static_cast<size_t>(lease->entries_[i])];
            if (entry.slot.load(std::memory_order_relaxed) == nullptr) {
                continue;
            }
            cache_.pin(entry.id);
            lease->admissions_[i].store(Lease::Admission::kAdmitted, std::memory_order_release);
            lease->n_admitted_++;
            lease->n_waiting_--;
            for (size_t p = 0; p < kProjectionCount; p++) {
                if ((mask & (1u << p)) != 0 && entry.states[p].load(std::memory_order_relaxed) == PartState::kAbsent) {
                    queue_part(*lease, lease->entries_[i], static_cast<Projection>(p));
                }
            }
        }
        admit(*lease);
        // Reads that an earlier lease left behind hold their slots only until they end; finish() admits then.
        admitted = lease->n_admitted_ > 0 || lease->entries_.empty() || reads_left();
        submit_queued(&requests);
    }
    if (!requests.empty()) {
        reader_->submit(requests);
    }
    if (!admitted) {
        return no_room(layer);
    }
    return lease;
}

// Gives slots to the experts that wait, in order, while there is room.
void ExpertStore::admit(Lease & lease) {
    std::vector<size_t> admitted;
    for (size_t i = 0; i < lease.entries_.size() && lease.n_waiting_ > 0; i++) {
        if (lease.admissions_[i].load(std::memory_order_relaxed) != Lease::Admission::kWaiting) {
            continue;
        }
        Entry & entry = entries_[static_cast<size_t>(lease.entries_[i])];
        if (entry.slot.load(std::memory_order_relaxed) == nullptr) {
            std::vector<ExpertId> evicted;
            const bool inserted = cache_.insert(entry.id, slot_bytes(index_.parts(entry.id)), lease.time_, &evicted);
            forget(evicted);
            if (!inserted) {
                break;
            }
            entry.slot.store(arena_.data() + cache_.offset(entry.id), std::memory_order_relaxed);
        }
        cache_.pin(entry.id);
        lease.admissions_[i].store(Lease::Admission::kAdmitted, std::memory_order_release);
        lease.n_admitted_++;
        lease.n_waiting_--;
        admitted.push_back(i);
        for (size_t p = 0; p < kProjectionCount; p++) {
            if ((lease.mask_ & (1u << p)) != 0 &&
                entry.states[p].load(std::memory_order_relaxed) == PartState::kAbsent) {
                queue_part(lease, lease.entries_[i], static_cast<Projection>(p));
            }
        }
    }
    // All fit: the same layer's other matrices will be wanted in a moment, and the slots will still be there.
    if (lease.n_waiting_ == 0 && lease.n_admitted_ == lease.entries_.size()) {
        for (size_t i : admitted) {
            const Entry & entry = entries_[static_cast<size_t>(lease.entries_[i])];
            for (size_t p = 0; p < kProjectionCount; p++) {
                if (part(entry, static_cast<Projection>(p)).present &&
                    entry.states[p].load(std::memory_order_relaxed) == PartState::kAbsent) {
                    queue_part(lease, lease.entries_[i], static_cast<Projection>(p));
                }
            }
        }
    }
}

void ExpertStore::queue_part(const Lease & lease, int32_t entry_number, Projection projection) {
    Entry & entry = entries_[static_cast<size_t>(entry_number)];
    const ExpertPart & what = part(entry, projection);
    assert(what.present);
    cache_.pin(entry.id);
    entry.states[static_cast<size_t>(projection)].store(PartState::kReading, std::memory_order_relaxed);
    const int64_t step = chunk_rows(what);
    const uint64_t row_bytes = what.bytes / static_cast<uint64_t>(what.rows);
    int32_t n_chunks = 0;
    for (int64_t row = 0; row < what.rows; row += step) {
        Chunk chunk;
        chunk.lease = lease.number_;
        chunk.entry = entry_number;
        chunk.projection = projection;
        chunk.first_row = row;
        chunk.n_rows = std::min(step, what.rows - row);
        const uint64_t offset = what.offset + static_cast<uint64_t>(row) * row_bytes;
        chunk.aligned_offset = align_down(offset, kDirectAlignment);
        chunk.skip_bytes = static_cast<size_t>(offset - chunk.aligned_offset);
        queue_.push_back(chunk);
        n_chunks++;
    }
    entry.chunks_left[static_cast<size_t>(projection)] = n_chunks;
}

void ExpertStore::submit_queued(std::vector<ReadRequest> * requests) {
    while (!queue_.empty() && !staging_.empty()) {
        Chunk chunk = queue_.front();
        queue_.pop_front();
        chunk.staging = staging_.take();
        const ExpertPart & what = part(entries_[static_cast<size_t>(chunk.entry)], chunk.projection);
        const uint64_t row_bytes = what.bytes / static_cast<uint64_t>(what.rows);
        ReadRequest request;
        request.id = next_read_id_++;
        request.file = index_.files()[what.file].get();
        request.offset = chunk.aligned_offset;
        request.bytes = static_cast<size_t>(
            align_up(chunk.skip_bytes + static_cast<uint64_t>(chunk.n_rows) * row_bytes, kDirectAlignment));
        request.destination = staging_.data(chunk.staging);
        requests->push_back(request);
        in_flight_.emplace(request.id, chunk);
    }
}

void ExpertStore::forget(const std::vector<ExpertId> & evicted) {
    for (ExpertId id : evicted) {
        Entry & entry = entries_[static_cast<size_t>(entry_index(id))];
        entry.slot.store(nullptr, std::memory_order_relaxed);
        for (auto & state : entry.states) {
            state.store(PartState::kAbsent, std::memory_order_relaxed);
        }
        stats_.evictions++;
    }
}

// Their parts are absent once what is in flight of them has ended.
void ExpertStore::drop_queued(uint64_t lease) {
    const auto dropped = [&](const Chunk & chunk) {
        if (chunk.lease != lease) {
            return false;
        }
        Entry & entry = entries_[static_cast<size_t>(chunk.entry)];
        entry.damaged = static_cast<ProjectionMask>(entry.damaged | projection_bit(chunk.projection));
        finish_chunk(chunk);
        return true;
    };
    queue_.erase(std::remove_if(queue_.begin(), queue_.end(), dropped), queue_.end());
}

bool ExpertStore::reads_left() const {
    return !queue_.empty() || !in_flight_.empty() || n_converting_ > 0;
}

void ExpertStore::announce_change() {
    n_changes_++;
    changed_.notify_all();
}

void ExpertStore::hand_out(std::vector<ReadCompletion> * completions) {
    if (!completions->empty()) {
        std::move(completions->begin(), completions->end(), std::back_inserter(arrived_));
        completions->clear();
        announce_change();
    }
}

// One arrival a call, so that what comes together is converted by several threads.
bool ExpertStore::take_arrivals(Lease & lease, bool may_block) {
    std::vector<ReadCompletion> completions;
    reader_->reap(&completions);
    std::unique_lock<std::mutex> lock(mutex_);
    hand_out(&completions);
    while (arrived_.empty()) {
        if (!may_block || lease.failed()) {
            return false;
        }
        if (!in_flight_.empty() && !waits_in_reader_) {
            waits_in_reader_ = true;
            lock.unlock();
            reader_->wait(&completions);  // returns at once, with nothing, in the moment before another thread submits
            lock.lock();
            waits_in_reader_ = false;
            hand_out(&completions);
        } else if (reads_left() || (lease.n_waiting_ > 0 && lease.n_admitted_ > 0)) {
            const uint64_t seen = n_changes_;
            changed_.wait(lock, [&] { return n_changes_ != seen; });
            if (arrived_.empty()) {
                return true;
            }
        } else {
            if (lease.n_waiting_ > 0) {  // another lease holds all room
                lease.status_ = no_room(lease.layer_);
                lease.failed_.store(true, std::memory_order_release);
            }
            return false;
        }
    }
    const ReadCompletion completion = std::move(arrived_.front());
    arrived_.pop_front();
    const auto found = in_flight_.find(completion.id);
    assert(found != in_flight_.end());
    const Chunk chunk = found->second;
    in_flight_.erase(found);
    n_converting_++;
    lock.unlock();
    finish(lease, chunk, completion);
    return true;
}

void ExpertStore::finish(Lease & lease, const Chunk & chunk, const ReadCompletion & completion) {
    Entry & entry = entries_[static_cast<size_t>(chunk.entry)];
    const size_t p = static_cast<size_t>(chunk.projection);
    const ExpertPart & what = part(entry, chunk.projection);
    const uint64_t row_bytes = what.bytes / static_cast<uint64_t>(what.rows);
    const uint64_t chunk_bytes = static_cast<uint64_t>(chunk.n_rows) * row_bytes;
    Status status = completion.status;
    if (status.is_ok() && completion.bytes_read < chunk.skip_bytes + chunk_bytes) {
        status = Status(StatusCode::kIo, index_.files()[what.file]->path() + ": offset " +
                                             std::to_string(chunk.aligned_offset + completion.bytes_read) +
                                             ": unexpected end of file");
    }
    if (status.is_ok()) {
        // The slot cannot move or go: this part's pin holds it.
        converter_.convert(what, chunk.first_row, chunk.n_rows, staging_.data(chunk.staging) + chunk.skip_bytes,
                           entry.slot.load(std::memory_order_relaxed) + entry.part_offsets[p] +
                               static_cast<uint64_t>(chunk.first_row) * row_bytes);
    }

    std::vector<ReadRequest> requests;
    {
        std::lock_guard<std::mutex> lock(mutex_);
        staging_.give_back(chunk.staging);
        if (status.is_ok()) {
            stats_.read_bytes += chunk_bytes;
        } else {
            entry.damaged = static_cast<ProjectionMask>(entry.damaged | projection_bit(chunk.projection));
            fail(lease, chunk, status);
        }
        const bool held = lease.holds(chunk.entry);
        if (!finish_chunk(chunk) && held && (lease.mask_ & projection_bit(chunk.projection)) != 0 && !lease.failed()) {
            queue_part(lease, chunk.entry, chunk.projection);  // what failed was read for an earlier lease
        }
        if (!held && lease.n_waiting_ > 0 && !lease.failed()) {
            admit(lease);  // this slot may have been the last that was in the way
        }
        n_converting_--;
        submit_queued(&requests);
        announce_change();
    }
    if (!requests.empty()) {
        reader_->submit(requests);
    }
}

// A chunk has ended, read or not. False if it was its part's last and the part is not whole.
bool ExpertStore::finish_chunk(const Chunk & chunk) {
    Entry & entry = entries_[static_cast<size_t>(chunk.entry)];
    const auto p = static_cast<size_t>(chunk.projection);
    if (--entry.chunks_left[p] > 0) {
        return true;
    }
    const bool whole = (entry.damaged & projection_bit(chunk.projection)) == 0;
    entry.damaged = static_cast<ProjectionMask>(entry.damaged & ~projection_bit(chunk.projection));
    entry.states[p].store(whole ? PartState::kReady : PartState::kAbsent, std::memory_order_release);
    unpin(chunk.entry);
    return whole;
}

// The first failure of a matrix that was read for this lease, and that it waits for, ends it. Others leave an absent
// matrix, which is read again when it is wanted.
void ExpertStore::fail(Lease & lease, const Chunk & chunk, const Status & status) {
    const bool wanted = chunk.lease == lease.number_ && (lease.mask_ & projection_bit(chunk.projection)) != 0;
    if (!wanted || lease.failed()) {
        return;
    }
    const ExpertId id = entries_[static_cast<size_t>(chunk.entry)].id;
    lease.status_ =
        Status(status.code(), status.message() + " (blk." + std::to_string(id.layer) + " expert " +
                                  std::to_string(id.expert) + " " + projection_name(chunk.projection) + ")");
    lease.failed_.store(true, std::memory_order_release);
}

void ExpertStore::unpin(int32_t entry) {
    cache_.unpin(entries_[static_cast<size_t>(entry)].id);
}

void ExpertStore::add_stall(double summed_seconds, int n_threads) {
    std::lock_guard<std::mutex> lock(mutex_);
    stats_.stall_seconds += summed_seconds / n_threads;
}

StreamStats ExpertStore::stats() const {
    std::lock_guard<std::mutex> lock(mutex_);
    return stats_;
}

uint64_t ExpertStore::resident_bytes() const {
    std::lock_guard<std::mutex> lock(mutex_);
    return cache_.used_bytes();
}

uint64_t ExpertStore::resident_experts() const {
    std::lock_guard<std::mutex> lock(mutex_);
    return cache_.size();
}

}  // namespace edgemoe
