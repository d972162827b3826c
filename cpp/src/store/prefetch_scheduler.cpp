// Invariants: live_ holds exactly the entries whose guess has a chance; no other is protected in the cache.
#include "store/prefetch_scheduler.h"

#include <algorithm>

namespace edgemoe {

namespace {

// Calls `merge` with each field of *sum and of `a`.
template <typename Merge>
void merge_fields(const PrefetchStats & a, PrefetchStats * sum, Merge merge) {
    merge(&sum->forecasts, a.forecasts);
    merge(&sum->read_ahead_bytes, a.read_ahead_bytes);
    merge(&sum->useful_bytes, a.useful_bytes);
    merge(&sum->wasted_bytes, a.wasted_bytes);
    merge(&sum->cancelled_bytes, a.cancelled_bytes);
    merge(&sum->prewarmed_bytes, a.prewarmed_bytes);
    merge(&sum->passes_ahead, a.passes_ahead);
    merge(&sum->passes_without, a.passes_without);
    merge(&sum->stall_ahead_seconds, a.stall_ahead_seconds);
    merge(&sum->stall_without_seconds, a.stall_without_seconds);
}

}  // namespace

PrefetchStats difference(const PrefetchStats & a, const PrefetchStats & b) {
    PrefetchStats result = a;
    merge_fields(b, &result, [](auto * field, auto value) { *field -= value; });
    return result;
}

void add(const PrefetchStats & a, PrefetchStats * sum) {
    merge_fields(a, sum, [](auto * field, auto value) { *field += value; });
}

PrefetchScheduler::PrefetchScheduler(Prefetch mode, const ExpertIndex & index, const ExpertTable & experts,
                                     ExpertCache & cache, size_t n_staging)
    : mode_(mode),
      experts_(experts),
      cache_(cache),
      n_used_(index.n_experts_used()),
      most_allowance_(static_cast<double>(index.token_working_set_bytes())),
      allowance_(static_cast<double>(prefetch::kFirstExperts * index.largest_expert_bytes())),
      most_reads_(std::max<size_t>(1, n_staging / prefetch::kBufferShare)),
      guesses_(mode == Prefetch::kOff ? 0 : index.n_experts()),
      last_forecast_(static_cast<size_t>(index.empty() ? 0 : index.layers().back().layer + 1), 0),
      comparison_(mode == Prefetch::kAuto),
      record_(mode == Prefetch::kOff ? 0 : static_cast<int32_t>(last_forecast_.size()), n_used_) {
    live_.reserve(guesses_.size());
    numbers_.reserve(static_cast<size_t>(n_used_));
}

void PrefetchScheduler::begin_pass(double seconds, double stall_seconds) {
    comparison_.end_pass(seconds, stall_seconds, n_visits_ > 0 && !is_prompt_);
    is_prompt_ = false;
}

void PrefetchScheduler::layer_came(int32_t layer, const std::vector<int32_t> & entries) {
    n_visits_++;
    layer_ = layer;
    const bool is_token = entries.size() <= static_cast<size_t>(n_used_);
    is_prompt_ = is_prompt_ || !is_token;
    numbers_.clear();
    for (const int32_t entry : entries) {
        Guess & used = guess(entry);
        stats_.useful_bytes += used.read_bytes;
        earn(prefetch::kReturn * static_cast<double>(used.read_bytes));
        used.read_bytes = 0;
        numbers_.push_back(experts_[entry].id.expert);
    }
    if (is_token) {
        record_.judge(layer, numbers_);
    }
    const ExpertTable::Range range = experts_.layer(layer);
    for (int32_t entry = range.first; entry < range.end; ++entry) {
        evicted(entry);  // as good as
    }
    end_forecasts(layer);
}

void PrefetchScheduler::end_forecasts(int32_t layer) {
    const auto ends = [&](int32_t entry) {
        if (experts_[entry].id.layer != layer) {
            return false;
        }
        Guess & ended = guess(entry);
        ended.chance = 0;
        ended.is_refused = false;
        cache_.protect(experts_[entry].id, false);
        return true;
    };
    live_.erase(std::remove_if(live_.begin(), live_.end(), ends), live_.end());
}

void PrefetchScheduler::forecast(const std::vector<ExpertForecast> & experts) {
    n_calls_++;
    record_.begin_forecast();
    for (const ExpertForecast & named : experts) {
        const int32_t entry = experts_.find(named.id);
        if (entry < 0 || named.distance < 1) {
            continue;
        }
        uint64_t & last = last_forecast_[static_cast<size_t>(named.id.layer)];
        if (last != n_calls_) {
            last = n_calls_;
            end_forecasts(named.id.layer);
        }
        ExpertForecast known = named;
        known.probability = std::min(named.probability, 1.0F);
        if (!(known.probability > 0)) {  // also what is not a number
            continue;
        }
        record_.name(known);
        const float chance = record_.chance(known);
        if (chance < prefetch::kLeastChance) {
            continue;
        }
        stats_.forecasts++;
        Guess & guessed = guess(entry);
        if (guessed.chance == 0) {
            live_.push_back(entry);
            cache_.protect(named.id, true);
        }
        guessed.chance = std::max(guessed.chance, chance);
        guessed.due = n_visits_ + static_cast<uint64_t>(named.distance);
    }
}

bool PrefetchScheduler::may_read() const {
    return wants_forecasts() && (mode_ == Prefetch::kAlways || allowance_ > 0);
}

uint64_t PrefetchScheduler::missing_bytes(int32_t e) const {
    const ExpertEntry & entry = experts_[e];
    uint64_t bytes = 0;
    for (size_t p = 0; p < kProjectionCount; ++p) {
        if (entry.state(p) == PartState::kReading) {
            return 0;
        }
        bytes += entry.state(p) == PartState::kAbsent ? (*entry.parts)[p].bytes : 0;
    }
    return bytes;
}

int32_t PrefetchScheduler::next_to_read() const {
    int32_t best = -1;
    float most = 0;
    if (!may_read()) {
        return best;
    }
    for (const int32_t entry : live_) {
        const Guess & candidate = guess(entry);
        // While a prompt's layers read nearly everything, only the token behind it is worth a guess.
        if (candidate.chance < prefetch::kLeastChanceToRead || candidate.is_refused ||
            (is_prompt_ && experts_[entry].id.layer > layer_)) {
            continue;
        }
        if (candidate.due > n_visits_ + 1 || candidate.chance <= most) {
            continue;
        }
        const uint64_t bytes = missing_bytes(entry);
        if (bytes > 0 && (mode_ == Prefetch::kAlways || static_cast<double>(bytes) <= allowance_)) {
            best = entry;
            most = candidate.chance;
        }
    }
    return best;
}

void PrefetchScheduler::refuse(int32_t entry) {
    guess(entry).is_refused = true;
}

void PrefetchScheduler::forget_refusals() {
    for (const int32_t entry : live_) {
        guess(entry).is_refused = false;
    }
}

void PrefetchScheduler::earn(double bytes) {
    allowance_ = std::min(allowance_ + bytes, std::max(most_allowance_, allowance_));
}

void PrefetchScheduler::will_read(uint64_t bytes) {
    allowance_ -= static_cast<double>(bytes);
}

void PrefetchScheduler::arrived(int32_t entry, uint64_t bytes) {
    stats_.read_ahead_bytes += bytes;
    guess(entry).read_bytes += bytes;
}

void PrefetchScheduler::arrived_in_demand(uint64_t bytes) {
    stats_.read_ahead_bytes += bytes;
    stats_.useful_bytes += bytes;
    earn(prefetch::kReturn * static_cast<double>(bytes));
}

void PrefetchScheduler::arrived_too_late(uint64_t bytes) {
    stats_.read_ahead_bytes += bytes;
    stats_.wasted_bytes += bytes;
}

void PrefetchScheduler::withdrawn(uint64_t bytes) {
    earn(static_cast<double>(bytes));
}

void PrefetchScheduler::cancelled(uint64_t bytes) {
    stats_.cancelled_bytes += bytes;
    earn(static_cast<double>(bytes));
}

void PrefetchScheduler::evicted(int32_t entry) {
    Guess & gone = guess(entry);
    stats_.wasted_bytes += gone.read_bytes;
    gone.read_bytes = 0;
}

void PrefetchScheduler::demand_arrived(uint64_t bytes) {
    earn(prefetch::kTrialShare * static_cast<double>(bytes));
}

PrefetchStats PrefetchScheduler::stats() const {
    PrefetchStats stats = stats_;
    stats.passes_ahead = comparison_.n_passes(true);
    stats.passes_without = comparison_.n_passes(false);
    stats.stall_ahead_seconds = comparison_.stall_seconds(true);
    stats.stall_without_seconds = comparison_.stall_seconds(false);
    return stats;
}

}  // namespace edgemoe
