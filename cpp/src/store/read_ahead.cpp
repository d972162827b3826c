// What is read before it is asked for: forecasts, and the experts that a run begins with. Everything here REQUIRES the
// store's mutex, but what says otherwise.
//
// A chunk that is ahead has no lease. It is started only when all demand reads have arrived. When another demand read
// comes, what was not handed to the reader is withdrawn, what the reader has not started is cancelled, and what it has
// started (a chunk each) ends as it would; when a lease asks for its expert, it becomes a demand read.
#include "store/expert_store.h"

#include <algorithm>

namespace edgemoe {

void ExpertStore::forecast(const std::vector<ExpertForecast> & experts) {
    if (!wants_forecasts()) {
        return;
    }
    std::unique_lock<AwakeMutex> lock(mutex_);
    scheduler_.forecast(experts);
    if (is_reader_busy()) {
        ask_reader(&AsyncReader::reap, lock);
    }
    read_ahead();
    submit_and_unlock(lock);
}

std::vector<LayerRecall> ExpertStore::recall() const {
    const std::lock_guard<AwakeMutex> lock(mutex_);
    return scheduler_.recall();
}

std::vector<ExpertStore::Use> ExpertStore::uses() const {
    const std::lock_guard<AwakeMutex> lock(mutex_);
    std::vector<Use> uses;
    for (const ExpertEntry & entry : experts_.entries()) {
        uses.push_back({entry.id, entry.n_uses});
    }
    return uses;
}

// ---- forecasts ----

// Asks for as much of the likeliest experts as may be in flight.
void ExpertStore::read_ahead() {
    if (!scheduler_.is_on() || is_wanted_otherwise()) {
        return;
    }
    unpin_released();
    while (reads_.n_ahead_in_flight() + reads_.n_ahead_queued() < scheduler_.most_reads()) {
        const int32_t entry = scheduler_.next_to_read();
        if (entry < 0) {
            return;
        }
        if (!experts_[entry].is_resident && !insert_forecast(entry)) {
            scheduler_.refuse(entry);
            continue;
        }
        scheduler_.will_read(queue_reads(Chunk::kNoLease, ReadPurpose::kForecast, entry, kAllProjections));
    }
}

// What the living lease is done with may leave now, as it may when the next layer comes: often it is worth the least,
// its layer's next turn being the farthest away.
void ExpertStore::unpin_released() {
    if (lease_ == nullptr || !lease_->ends_layer()) {
        return;
    }
    for (size_t i = 0; i < lease_->size(); i++) {
        // Acquire: who released it has read its matrices, which may be overwritten from here on.
        if (lease_->admissions_[i].load(std::memory_order_acquire) == Lease::Admission::kReleased) {
            unpin(*lease_, i);
        }
    }
}

// The disk for demand reads, or room for experts of a lease.
bool ExpertStore::is_wanted_otherwise() {
    return has_demand_to_read() || (lease_ != nullptr && lease_->waits());
}

// Demand reads that have not arrived.
bool ExpertStore::has_demand_to_read() {
    const size_t n_arrived = n_converting_demand_ + arrived_.size() - n_arrived_ahead();
    return reads_.has_queued_demand() || reads_.n_in_flight() - reads_.n_ahead_in_flight() > n_arrived;
}

// Who leaves is chosen as it would be when its layer comes: then it would leave all the same.
bool ExpertStore::insert_forecast(int32_t e) {
    ExpertEntry & entry = experts_[e];
    const PolicyTime then = {time_.step, entry.id.layer};
    evicted_.clear();
    const bool is_inserted = cache_.insert_forecast(entry.id, entry.matrix_bytes, then, &evicted_);
    forget_evicted();
    if (is_inserted) {
        take_slot(entry);
    }
    return is_inserted;
}

size_t ExpertStore::n_arrived_ahead() {
    return reads_.n_ahead_in_flight() == 0
               ? 0
               : arrived_.count([this](const ReadCompletion & one) { return reads_.chunk(one.id).is_ahead(); });
}

// Its layer came without it.
bool ExpertStore::is_stale(const Chunk & chunk) const {
    return chunk.is_ahead() && chunk.purpose == ReadPurpose::kForecast && !scheduler_.is_forecast(chunk.entry);
}

// The lease has `entry`: what is read of it ahead is read for the lease.
void ExpertStore::promote(const Lease & lease, int32_t entry) {
    if (reads_.has_ahead()) {
        reads_.promote(entry, lease.number_, &promoted_, [this](const Chunk & chunk) {
            if (chunk.purpose == ReadPurpose::kForecast) {
                scheduler_.withdrawn(chunk.bytes);
            }
        });
    }
}

// For demand reads.
void ExpertStore::make_way() {
    if (reads_.has_ahead()) {
        withdraw_all();
    }
}

void ExpertStore::withdraw_all() {
    withdraw([](const Chunk &) { return true; });
}

void ExpertStore::withdraw_stale() {
    if (reads_.has_ahead()) {
        withdraw([this](const Chunk & chunk) { return is_stale(chunk); });
    }
}

// Takes back those chunks that are ahead for which `goes` holds, as far as they have not been started.
template <typename Goes>
void ExpertStore::withdraw(Goes goes) {
    reads_.list_ahead(goes, &cancelled_);
    reads_.drop_ahead(goes, [this](const Chunk & chunk) {
        if (chunk.purpose == ReadPurpose::kForecast) {
            scheduler_.withdrawn(chunk.bytes);
        }
        ExpertEntry & entry = experts_[chunk.entry];
        entry.damaged = static_cast<ProjectionMask>(entry.damaged | projection_bit(chunk.projection));
        finish_chunk(chunk);
        give_back_if_empty(chunk.entry);
    });
}

// A slot of which nothing is there, and nothing on its way, is better free.
void ExpertStore::give_back_if_empty(int32_t e) {
    ExpertEntry & entry = experts_[e];
    if (!scheduler_.is_on() || !entry.is_resident || cache_.is_pinned(entry.id)) {
        return;
    }
    for (size_t p = 0; p < kProjectionCount; p++) {
        if (entry.state(p) != PartState::kAbsent) {
            return;
        }
    }
    cache_.remove(entry.id);
    forget(entry);
}

void ExpertStore::account(const Chunk & chunk, const Status & status) {
    stats_.read_bytes += status.is_ok() ? chunk.bytes : 0;
    if (!status.is_ok()) {
        if (chunk.purpose == ReadPurpose::kForecast) {
            scheduler_.cancelled(chunk.bytes);
        }
    } else if (chunk.purpose == ReadPurpose::kDemand) {
        scheduler_.demand_arrived(chunk.bytes);
    } else if (chunk.purpose == ReadPurpose::kPrewarm) {
        scheduler_.prewarmed(chunk.bytes);
    } else if (chunk.is_ahead()) {
        scheduler_.arrived(chunk.entry, chunk.bytes);
    } else {
        scheduler_.arrived_in_demand(chunk.bytes);
    }
}

// ---- pre-warming ----

// Takes mutex_.
void ExpertStore::wake() {
    const std::lock_guard<AwakeMutex> lock(mutex_);
    announce_change();
}

// Takes mutex_.
void ExpertStore::prewarm(const std::vector<ExpertId> & experts, const std::atomic<bool> & stop) {
    std::unique_lock<AwakeMutex> lock(mutex_);
    size_t next = 0;
    while (!stop.load()) {
        if (take_background_arrival(lock)) {
            continue;
        }
        if (!is_wanted_otherwise() && next < experts.size() &&
            reads_.n_ahead_in_flight() + reads_.n_ahead_queued() < prefetch::kPrewarmReads) {
            const int32_t entry = experts_.find(experts[next++]);
            if (entry >= 0 && !experts_[entry].is_resident && !prewarm_one(entry)) {
                next = experts.size();  // no slot is free
            }
            submit_and_unlock(lock);
            lock.lock();
            continue;
        }
        if (next == experts.size() && !reads_.has_ahead()) {
            return;
        }
        if (is_reader_busy() && !waits_in_reader_) {
            waits_in_reader_ = true;
            ask_reader(&AsyncReader::wait, lock);
            waits_in_reader_ = false;
            announce_change();  // another thread may wait there now
        } else {
            const uint64_t seen = n_changes_;
            changed_.wait(lock, [&] { return n_changes_ != seen; });
        }
    }
}

bool ExpertStore::prewarm_one(int32_t e) {
    ExpertEntry & entry = experts_[e];
    if (!cache_.insert_free(entry.id, entry.matrix_bytes, time_)) {
        return false;
    }
    take_slot(entry);
    queue_reads(Chunk::kNoLease, ReadPurpose::kPrewarm, e, kAllProjections);
    return true;
}

// One that nobody has asked for yet. False: there is none.
bool ExpertStore::take_background_arrival(std::unique_lock<AwakeMutex> & lock) {
    if (n_arrived_ahead() == 0) {
        return false;
    }
    const ReadCompletion completion =
        arrived_.pop_preferred([this](const ReadCompletion & one) { return reads_.chunk(one.id).is_ahead(); });
    convert_unlocked(nullptr, completion, lock);
    submit_and_unlock(lock);
    lock.lock();
    return true;
}

}  // namespace edgemoe
