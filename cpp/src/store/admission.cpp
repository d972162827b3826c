// Who gets a slot, and which reads that leads to. Everything here REQUIRES the store's mutex.
#include "store/expert_store.h"

namespace edgemoe {

// A new pass over the layers begins when a layer is asked for again, or an earlier one: one ubatch, one step. True if
// one did.
bool ExpertStore::start_pass(int32_t layer, ProjectionMask mask) {
    const bool is_new = layer < time_.layer || (layer == time_.layer && (pass_mask_ & mask) != 0);
    if (is_new) {
        time_.step++;
        pass_mask_ = 0;
        if (scheduler_.is_on()) {
            scheduler_.begin_pass(pass_seconds_, pass_stall_seconds_);
            wants_forecasts_.store(scheduler_.wants_forecasts(), std::memory_order_relaxed);
        }
        pass_seconds_ = 0;
        pass_stall_seconds_ = 0;
    }
    if (layer != time_.layer) {
        time_.layer = layer;
        pass_mask_ = 0;
    }
    return is_new;
}

std::optional<StreamLimits> ExpertStore::stream_limits(const Lease & lease) const {
    uint64_t bytes = 0;
    for (const int32_t entry : lease.entries_) {
        bytes += ExpertCache::slot_bytes(experts_[entry].matrix_bytes);
    }
    return rule_.limits(lease.layer_, lease.size(), bytes);
}

void ExpertStore::count_uses(const Lease & lease, const std::vector<ExpertUse> & uses) {
    for (size_t i = 0; i < lease.size(); i++) {
        ExpertEntry & entry = experts_[lease.entries_[i]];
        entry.n_uses++;
        cache_.record_use(entry.id, time_, uses.empty() ? ExpertUse() : uses[i]);
        stats_.requests++;
        bool is_there = entry.is_resident;
        for (size_t p = 0; p < kProjectionCount && is_there; p++) {
            is_there = !has_projection(lease.mask_, p) || entry.state(p) != PartState::kAbsent;
        }
        stats_.hits += is_there ? 1 : 0;
    }
    if (scheduler_.is_on()) {
        scheduler_.layer_came(lease.layer_, lease.entries_);
    }
}

// Before anything is evicted for the others.
void ExpertStore::pin_residents(Lease & lease) {
    for (size_t i = 0; i < lease.size(); i++) {
        const ExpertEntry & entry = experts_[lease.entries_[i]];
        if (!entry.is_resident) {
            continue;
        }
        if (!lease.stream_) {
            cache_.keep(entry.id);
        }
        cache_.pin(entry.id);
        lease.admit(i);
        promote(lease, lease.entries_[i]);
        queue_absent(lease, lease.entries_[i], lease.mask_);
    }
}

// Before the first of a prompt's experts is admitted.
void ExpertStore::choose_settling(const Lease & lease) {
    absent_.clear();
    for (const int32_t e : lease.entries_) {
        const ExpertEntry & entry = experts_[e];
        if (!entry.is_resident) {
            absent_.push_back({entry.id, ExpertCache::slot_bytes(entry.matrix_bytes)});
        }
    }
    cache_.choose_settling(&absent_, *lease.stream_);
}

// Gives slots to the experts that wait, in order, while there is room.
void ExpertStore::admit(Lease & lease) {
    admitted_.clear();
    for (size_t i = 0; i < lease.size() && lease.waits(); i++) {
        if (lease.admission(i) != Lease::Admission::kWaiting) {
            continue;
        }
        const int32_t e = lease.entries_[i];
        if (!experts_[e].is_resident && !insert(lease, experts_[e])) {
            break;
        }
        cache_.pin(experts_[e].id);
        lease.admit(i);
        promote(lease, e);
        admitted_.push_back(e);
        queue_absent(lease, e, lease.mask_);
    }
    // All fit: the same layer's other matrices will be wanted in a moment, and the slots will still be there.
    if (!lease.waits() && lease.n_admitted_ == lease.size()) {
        for (const int32_t e : admitted_) {
            queue_absent(lease, e, kAllProjections);
        }
    }
}

bool ExpertStore::insert(const Lease & lease, ExpertEntry & entry) {
    evicted_.clear();
    const bool is_inserted =
        lease.stream_ ? cache_.insert_streamed(entry.id, entry.matrix_bytes, lease.time_, *lease.stream_, &evicted_)
                      : cache_.insert(entry.id, entry.matrix_bytes, lease.time_, &evicted_);
    forget_evicted();
    if (is_inserted) {
        take_slot(entry);
    }
    return is_inserted;
}

// The cache has a slot for it.
void ExpertStore::take_slot(ExpertEntry & entry) {
    entry.is_resident = true;
    for (size_t p = 0; p < kProjectionCount; p++) {
        if (entry.matrix_bytes[p] == 0) {
            continue;
        }
        if (mapped_ != nullptr) {
            entry.matrices[p] = mapped_->address((*entry.parts)[p]);
            mapped_->retain((*entry.parts)[p]);
        } else {
            entry.matrices[p] = slots_ + cache_.offset(entry.id, static_cast<Projection>(p));
        }
    }
}

void ExpertStore::forget_evicted() {
    for (const ExpertId id : evicted_) {
        const int32_t entry = experts_.find(id);
        forget(experts_[entry]);
        if (scheduler_.is_on()) {
            scheduler_.evicted(entry);
        }
    }
}

void ExpertStore::forget(ExpertEntry & entry) {
    entry.is_resident = false;
    for (size_t p = 0; p < kProjectionCount; p++) {
        entry.states[p].store(PartState::kAbsent, std::memory_order_relaxed);
        if (mapped_ != nullptr && entry.matrix_bytes[p] > 0) {
            mapped_->release((*entry.parts)[p], &unmapped_);
        }
    }
    stats_.evictions++;
}

// Queues the reads of those matrices of `mask` that are neither there nor on their way.
void ExpertStore::queue_absent(const Lease & lease, int32_t e, ProjectionMask mask) {
    queue_reads(lease.number_, ReadPurpose::kDemand, e, mask);
}

// The same, for a lease or ahead of any. Returns the bytes that are queued.
uint64_t ExpertStore::queue_reads(uint64_t lease, ReadPurpose purpose, int32_t e, ProjectionMask mask) {
    uint64_t bytes = 0;
    ExpertEntry & entry = experts_[e];
    for (size_t p = 0; p < kProjectionCount; p++) {
        const ExpertPart & part = (*entry.parts)[p];
        if (!has_projection(mask, p) || !part.present || entry.state(p) != PartState::kAbsent) {
            continue;
        }
        cache_.pin(entry.id);
        entry.states[p].store(PartState::kReading, std::memory_order_relaxed);
        entry.checks[p].begin();
        Chunk chunk;
        chunk.lease = lease;
        chunk.purpose = purpose;
        chunk.entry = e;
        chunk.projection = static_cast<Projection>(p);
        entry.chunks_left[p] =
            reads_.add(chunk, part, *index_.files()[part.file], mapped_ != nullptr ? entry.matrices[p] : nullptr);
        bytes += part.bytes;
    }
    return bytes;
}

// Their parts are absent once what is in flight of them has ended.
void ExpertStore::drop_queued(uint64_t lease) {
    reads_.drop(lease, [this](const Chunk & chunk) {
        ExpertEntry & entry = experts_[chunk.entry];
        entry.damaged = static_cast<ProjectionMask>(entry.damaged | projection_bit(chunk.projection));
        finish_chunk(chunk);
    });
}

}  // namespace edgemoe
