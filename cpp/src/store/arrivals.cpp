// What becomes of reads: they are taken from the reader, converted into their slots, and make a matrix ready, or absent
// again when they failed.
#include "store/expert_store.h"

#include "base/wait_awake.h"

#include <array>
#include <string>
#include <utility>

namespace edgemoe {

void ExpertStore::announce_change() {
    n_changes_++;
    changed_.notify_all();
}

void ExpertStore::wait_for_change(std::unique_lock<AwakeMutex> & lock) {
    const uint64_t seen = n_changes_;
    lock.unlock();
    wait_awake([&] { return n_changes_ != seen; });
    lock.lock();
    changed_.wait(lock, [&] { return n_changes_ != seen; });
}

// One arrival a call, so that what comes together is converted by several threads.
bool ExpertStore::take_arrival(Lease & lease, bool may_block) {
    std::unique_lock<AwakeMutex> lock(mutex_);
    if (is_reader_busy()) {  // also when something has arrived: a ring starts its next reads when it is asked
        ask_reader(&AsyncReader::reap, lock);
    }
    while (arrived_.empty()) {
        if (!may_block || lease.failed()) {
            return false;
        }
        if (has_unseen_room_ && lease.waits()) {
            has_unseen_room_ = false;
            admit(lease);
            announce_change();
            submit_and_unlock(lock);
            return true;
        }
        if (is_reader_busy() && !waits_in_reader_) {
            waits_in_reader_ = true;
            ask_reader(&AsyncReader::wait, lock);  // returns at once, with nothing, in the moment before a submit
            waits_in_reader_ = false;
        } else if (reads_left() || (lease.waits() && lease.n_admitted_ > 0)) {
            wait_for_change(lock);
            if (arrived_.empty()) {
                return true;
            }
        } else {
            if (lease.waits()) {
                lease.fail(no_room(lease.layer_));  // another lease holds all room
            }
            return false;
        }
    }
    const ReadCompletion completion =
        arrived_.pop_preferred([this](const ReadCompletion & one) { return !reads_.chunk(one.id).is_ahead(); });
    convert_unlocked(&lease, completion, lock);
    read_ahead();
    submit_and_unlock(lock);
    return true;
}

// Makes of an arrival what is to be made of it, without the lock. `lease`: who asks, nullptr: whoever lives then.
void ExpertStore::convert_unlocked(Lease * lease, const ReadCompletion & completion,
                                   std::unique_lock<AwakeMutex> & lock) {
    JoinedChunks read = reads_.chunks(completion.id);
    if (is_stale(read.front())) {
        finish_unread(completion);
        give_back_if_empty(read.front().entry);
        has_unseen_room_ = true;  // whoever waits for room looks again
    } else {
        const size_t n_demand = read.front().is_ahead() ? 0 : 1;
        n_converting_++;
        n_converting_demand_ += n_demand;
        lock.unlock();
        std::array<Status, kProjectionCount> statuses;
        for (size_t i = 0; i < read.size(); i++) {
            statuses[i] = convert(read, read.begin()[i], completion);
        }
        lock.lock();
        n_converting_--;
        n_converting_demand_ -= n_demand;
        read = reads_.chunks(completion.id);  // a lease may have asked for them meanwhile
        reads_.finish(completion.id);
        for (size_t i = 0; i < read.size(); i++) {
            finish(lease != nullptr ? lease : lease_, read.begin()[i], statuses[i]);
        }
    }
    announce_change();
}

// Calls the reader without the lock, and puts what it gives into arrived_.
void ExpertStore::ask_reader(size_t (AsyncReader::*ask)(std::vector<ReadCompletion> *),
                             std::unique_lock<AwakeMutex> & lock) {
    std::unique_ptr<Errands> errands = borrow_errands();
    lock.unlock();
    (reader_.get()->*ask)(&errands->completions);
    lock.lock();
    for (ReadCompletion & completion : errands->completions) {
        arrived_.push(std::move(completion));
    }
    if (!errands->completions.empty()) {
        announce_change();
    }
    errands->completions.clear();
    idle_errands_.push_back(std::move(errands));
}

// The rows that a read brought are looked at and go to their slot, which cannot move or go: their part's pin holds it.
// Without the lock.
Status ExpertStore::convert(const JoinedChunks & read, const Chunk & chunk, const ReadCompletion & completion) {
    if (!completion.status.is_ok()) {
        return completion.status;
    }
    if (completion.bytes_read < read.skip_bytes(chunk) + chunk.skip_bytes + chunk.bytes) {
        return Status(StatusCode::kIo, chunk.file->path() + ": offset " +
                                           std::to_string(read.front().aligned_offset + completion.bytes_read) +
                                           ": unexpected end of file");
    }
    ExpertEntry & entry = experts_[chunk.entry];
    const ExpertPart & part = entry.part(chunk.projection);
    const auto p = static_cast<size_t>(chunk.projection);
    const uint64_t first_byte =
        static_cast<uint64_t>(chunk.first_row) * (part.bytes / static_cast<uint64_t>(part.rows));
    const std::byte * arrived = mapped_ != nullptr ? entry.matrices[p] + first_byte : reads_.data(completion.id, chunk);
    Status status = entry.checks[p].add(part, chunk.file->path(), first_byte, arrived, chunk.bytes);
    if (status.is_ok() && mapped_ == nullptr) {  // otherwise the matrix is where it was read
        converter_.convert(part, chunk.first_row, chunk.n_rows, arrived, entry.matrices[p] + first_byte);
    }
    return status;
}

// `lease`: the one that lives, or nullptr.
void ExpertStore::finish(Lease * lease, const Chunk & chunk, const Status & status) {
    account(chunk, status);
    if (!status.is_ok()) {
        ExpertEntry & entry = experts_[chunk.entry];
        entry.damaged = static_cast<ProjectionMask>(entry.damaged | projection_bit(chunk.projection));
        if (lease != nullptr && status.code() != StatusCode::kCancelled) {
            fail(*lease, chunk, status);
        }
    }
    const bool is_whole = finish_chunk(chunk);
    const bool is_held = lease != nullptr && lease->holds(chunk.entry);
    const bool is_living = lease != nullptr && !lease->failed();
    if (!is_whole && is_held && is_living) {
        // What failed was read for an earlier lease, or ahead.
        const auto wanted = static_cast<ProjectionMask>(lease->mask_ & projection_bit(chunk.projection));
        queue_absent(*lease, chunk.entry, wanted);
    } else if (!is_whole && !is_held) {
        give_back_if_empty(chunk.entry);
    }
    if (!is_held && is_living && lease->waits()) {
        admit(*lease);  // this slot may have been the last that was in the way
    }
}

// What was read is not wanted.
void ExpertStore::finish_unread(const ReadCompletion & completion) {
    const JoinedChunks read = reads_.chunks(completion.id);
    reads_.finish(completion.id);
    for (const Chunk & chunk : read) {
        finish_unread(chunk, completion.status);
    }
}

void ExpertStore::finish_unread(const Chunk & chunk, const Status & status) {
    if (chunk.purpose == ReadPurpose::kForecast) {
        if (status.is_ok()) {
            stats_.read_bytes += chunk.bytes;
            scheduler_.arrived_too_late(chunk.bytes);
        } else {
            scheduler_.cancelled(chunk.bytes);
        }
    }
    ExpertEntry & entry = experts_[chunk.entry];
    entry.damaged = static_cast<ProjectionMask>(entry.damaged | projection_bit(chunk.projection));
    finish_chunk(chunk);
}

// A chunk has ended, read or not. False if it was its part's last and the part is not whole.
bool ExpertStore::finish_chunk(const Chunk & chunk) {
    ExpertEntry & entry = experts_[chunk.entry];
    const auto p = static_cast<size_t>(chunk.projection);
    if (--entry.chunks_left[p] > 0) {
        return true;
    }
    const bool is_whole = !has_projection(entry.damaged, p);
    entry.damaged = static_cast<ProjectionMask>(entry.damaged & ~projection_bit(chunk.projection));
    entry.states[p].store(is_whole ? PartState::kReady : PartState::kAbsent, std::memory_order_release);
    cache_.unpin(entry.id);
    return is_whole;
}

// The first failure of a matrix that was read for this lease, and that it waits for, ends it. Others leave an absent
// matrix, which is read again when it is wanted.
void ExpertStore::fail(Lease & lease, const Chunk & chunk, const Status & status) {
    if (chunk.lease != lease.number_ || (lease.mask_ & projection_bit(chunk.projection)) == 0) {
        return;
    }
    const ExpertId id = experts_[chunk.entry].id;
    lease.fail(Status(status.code(), status.message() + " (blk." + std::to_string(id.layer) + " expert " +
                                         std::to_string(id.expert) + " " + projection_name(chunk.projection) + ")"));
}

}  // namespace edgemoe
