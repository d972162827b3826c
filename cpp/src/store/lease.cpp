#include "store/lease.h"

#include "store/expert_store.h"

#include <cassert>
#include <utility>

namespace edgemoe {

void Lease::End::operator()(Lease * lease) const {
    lease->store_.end(*lease);
}

void Lease::begin(int32_t layer, ProjectionMask mask) {
    layer_ = layer;
    mask_ = mask;
    stream_.reset();
    if (admissions_.size() < entries_.size()) {
        admissions_ = std::vector<std::atomic<Admission>>(entries_.size());
    }
    for (size_t i = 0; i < entries_.size(); i++) {
        admissions_[i].store(Admission::kWaiting, std::memory_order_relaxed);
    }
    n_waiting_.store(entries_.size(), std::memory_order_relaxed);
    n_admitted_ = 0;
    failed_.store(false, std::memory_order_relaxed);
    status_ = Status::ok();
}

const std::byte * Lease::data(size_t i, Projection projection) const {
    if (admissions_[i].load(std::memory_order_acquire) != Admission::kAdmitted) {
        return nullptr;
    }
    const ExpertEntry & entry = store_.experts_[entries_[i]];
    const auto p = static_cast<size_t>(projection);
    return entry.states[p].load(std::memory_order_acquire) == PartState::kReady ? entry.matrices[p] : nullptr;
}

bool Lease::progress(bool may_block) {
    return store_.take_arrival(*this, may_block);
}

bool Lease::reads_ahead() const {
    return store_.n_ahead_.load(std::memory_order_relaxed) > 0;
}

void Lease::release(size_t i) {
    assert(admission(i) == Admission::kAdmitted);
    if (!waits()) {
        admissions_[i].store(Admission::kReleased, std::memory_order_release);
        return;
    }
    store_.release(*this, i);
}

bool Lease::holds(int32_t entry) const {
    for (size_t i = 0; i < entries_.size(); i++) {
        if (entries_[i] == entry) {
            return admission(i) == Admission::kAdmitted;
        }
    }
    return false;
}

void Lease::admit(size_t i) {
    admissions_[i].store(Admission::kAdmitted, std::memory_order_release);
    n_admitted_++;
    n_waiting_.fetch_sub(1, std::memory_order_relaxed);
}

void Lease::fail(Status status) {
    if (!failed()) {
        status_ = std::move(status);
        failed_.store(true, std::memory_order_release);
    }
}

Status Lease::status() const {
    std::lock_guard<AwakeMutex> lock(store_.mutex_);
    return status_;
}

}  // namespace edgemoe
