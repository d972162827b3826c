// Decides what a forecast is good for: which experts are protected from eviction, which are read ahead, how many bytes
// of them, and whether any at all. Bookkeeping only: no I/O, no clock, no threads.
//
// A forecast lives until its layer comes, or another forecast of that layer. Nothing is allocated after the first
// passes. Not thread-safe: guarded by the store's mutex.
#pragma once

#include "cache/expert_cache.h"
#include "predict/expert_forecast.h"
#include "storage/expert_index.h"
#include "store/expert_table.h"
#include "store/forecast_record.h"
#include "store/pass_comparison.h"
#include "store/prefetch_settings.h"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace edgemoe {

// Counters since the store was made; monotonic. Of what was read ahead, each byte becomes useful or wasted once its
// layer has come.
struct PrefetchStats {
    uint64_t forecasts = 0;          // experts named whose chance was at least prefetch::kLeastChance
    uint64_t read_ahead_bytes = 0;   // that arrived
    uint64_t useful_bytes = 0;       // of these, of experts that the layer chose
    uint64_t wasted_bytes = 0;       // of these, of experts that it did not choose, or that left before
    uint64_t cancelled_bytes = 0;    // asked for, and taken back before they were read
    uint64_t prewarmed_bytes = 0;    // read before anything asked for them
    uint64_t passes_ahead = 0;       // tokens during which reads ahead were allowed
    uint64_t passes_without = 0;     // tokens during which they were not, to compare
    double stall_ahead_seconds = 0;  // that computation waited during the former
    double stall_without_seconds = 0;
};

// a - b, for counters of one store; and *sum += a.
PrefetchStats difference(const PrefetchStats & a, const PrefetchStats & b);
void add(const PrefetchStats & a, PrefetchStats * sum);

class PrefetchScheduler {
public:
    // All outlive the scheduler. `n_staging`: read buffers of the store.
    PrefetchScheduler(Prefetch mode, const ExpertIndex & index, const ExpertTable & experts, ExpertCache & cache,
                      size_t n_staging);

    bool is_on() const { return mode_ != Prefetch::kOff; }
    // In this pass: otherwise forecasts would be work for nothing.
    bool wants_forecasts() const {
        return mode_ == Prefetch::kAlways || (mode_ == Prefetch::kAuto && comparison_.reads_ahead());
    }

    // A new pass over the layers begins; the layers of the one before took `seconds`, and stalled `stall_seconds`.
    void begin_pass(double seconds, double stall_seconds);

    // `layer` has chosen the experts of `entries` (numbers in the table); called before anything is evicted for them.
    // Ends the forecasts of the layer.
    void layer_came(int32_t layer, const std::vector<int32_t> & entries);

    // New forecasts; they replace the earlier ones of the same layers.
    void forecast(const std::vector<ExpertForecast> & experts);
    bool is_forecast(int32_t entry) const { return guess(entry).chance > 0; }
    float chance(int32_t entry) const { return guess(entry).chance; }

    // The entry of the next layer to read ahead next, -1: none. It is not whole, and not being read; the allowance has
    // room for its missing matrices.
    int32_t next_to_read() const;
    void will_read(uint64_t bytes);  // they are asked for
    void refuse(int32_t entry);      // nothing may leave for it
    void forget_refusals();          // something may leave now; also when a layer is forecast anew

    // What became of a read: of the `bytes` bytes that were asked for ahead.
    void arrived(int32_t entry, uint64_t bytes);  // it may be used
    void arrived_in_demand(uint64_t bytes);       // its layer came while it was on its way
    void arrived_too_late(uint64_t bytes);        // its layer came, and did not choose it
    void withdrawn(uint64_t bytes);               // it was not handed to the reader
    void cancelled(uint64_t bytes);               // the reader gave it back unread
    void evicted(int32_t entry);                  // its slot is gone
    void demand_arrived(uint64_t bytes);          // read because it was asked for
    void prewarmed(uint64_t bytes) { stats_.prewarmed_bytes += bytes; }

    // How many reads ahead may be in flight.
    size_t most_reads() const { return most_reads_; }

    PrefetchStats stats() const;
    std::vector<LayerRecall> recall() const { return record_.table(); }

private:
    struct Guess {
        float chance = 0;         // that it is chosen; 0: not forecast
        uint64_t due = 0;         // the visit of a layer that it is for
        uint64_t read_bytes = 0;  // that were read ahead, and of which it is not known yet what they were good for
        bool is_refused = false;
    };

    Guess & guess(int32_t entry) { return guesses_[static_cast<size_t>(entry)]; }
    const Guess & guess(int32_t entry) const { return guesses_[static_cast<size_t>(entry)]; }
    void end_forecasts(int32_t layer);
    bool may_read() const;
    void earn(double bytes);
    uint64_t missing_bytes(int32_t entry) const;

    const Prefetch mode_;
    const ExpertTable & experts_;
    ExpertCache & cache_;
    const int32_t n_used_;
    const double most_allowance_;
    double allowance_;  // bytes; may fall below 0 by one expert
    const size_t most_reads_;

    std::vector<Guess> guesses_;           // by entry
    std::vector<int32_t> live_;            // entries with a forecast
    std::vector<uint64_t> last_forecast_;  // by layer: the call of forecast() that named it last
    std::vector<int32_t> numbers_;         // of layer_came() alone
    uint64_t n_calls_ = 0;                 // of forecast()
    uint64_t n_visits_ = 0;                // of layers
    int32_t layer_ = 0;                    // the latest that came
    bool is_prompt_ = false;               // a layer of this pass chose for more than one token
    PassComparison comparison_;
    ForecastRecord record_;
    PrefetchStats stats_;
};

}  // namespace edgemoe
