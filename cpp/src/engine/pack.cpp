// Allocate, round what is not in the journal, write, measure; with a tolerance to meet: again with another limit.
#include "engine/pack.h"

#include "engine/pack_inputs.h"
#include "engine/pack_limits.h"
#include "engine/pack_rounding.h"
#include "engine/pack_writing.h"
#include "engine/tolerance_search.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

namespace edgemoe {

namespace {

// The share of a tolerance from which on it counts as used up. Of a large model, what is measured is not that exact,
// and another attempt takes minutes.
constexpr double kClose = 0.99;
constexpr double kCloseOfLarge = 0.97;

class PackJob {
public:
    PackJob(std::string output, const PackOptions & options, const JobProgress & progress, PackInputs & inputs)
        : output_(std::move(output)), options_(options), progress_(progress), inputs_(inputs) {}

    Result<PackReport> run();

private:
    // An allocation that was packed, and what was measured.
    struct Attempt {
        TypeAllocation allocation;
        Evaluation measured;
    };

    Status report_dry_run(const TypeAllocator & allocator);
    Status describe(const TypeAllocation & allocation);
    Status write(const TypeAllocation & allocation);
    Status attempt(const TypeAllocation & allocation);
    Status attempt_to_tolerance(const TypeAllocator & allocator);
    Status finish();

    const std::string output_;
    const PackOptions & options_;
    const JobProgress & progress_;
    PackInputs & inputs_;

    std::unique_ptr<RoundingJournal> journal_;
    std::vector<Attempt> attempts_;
    size_t chosen_ = 0;    // of attempts_
    WrittenPack written_;  // of attempts_.back(), then of the chosen one
    PackReport report_;
};

Result<PackReport> PackJob::run() {
    // Before all that takes long; what the packed experts themselves take is looked at when their types are known.
    Status status = options_.dry_run ? Status::ok() : inputs_.check_memory(0);
    if (status.is_ok()) {
        status = inputs_.find_sensitivity();
    }
    if (!status.is_ok()) {
        return status;
    }
    const Result<TypeAllocator> allocator = make_allocator(inputs_, options_, progress_);
    if (!allocator.is_ok()) {
        return allocator.status();
    }
    Result<std::vector<PackPoint>> curve = pack_curve(allocator.value(), inputs_, options_);
    if (!curve.is_ok()) {
        return curve.status();
    }
    report_.curve = std::move(curve).value();
    report_.warnings = inputs_.warnings();
    report_.speeds = allocator.value().speeds();
    for (const ExpertLayer & layer : inputs_.source().experts().layers()) {
        report_.layers.push_back(layer.layer);
    }
    if (options_.dry_run) {
        status = report_dry_run(allocator.value());
        return status.is_ok() ? Result<PackReport>(std::move(report_)) : status;
    }
    Result<std::unique_ptr<RoundingJournal>> journal = open_rounding_journal(inputs_, options_, output_);
    if (!journal.is_ok()) {
        return journal.status();
    }
    journal_ = std::move(journal).value();
    report_.n_resumed = journal_->n_found();
    if (options_.max_kl > 0) {
        status = attempt_to_tolerance(allocator.value());
    } else {
        const Result<TypeAllocation> allocation = allocate_for_limit(allocator.value(), inputs_, options_);
        status = allocation.is_ok() ? attempt(allocation.value()) : allocation.status();
    }
    if (status.is_ok()) {
        status = finish();
    }
    return status.is_ok() ? Result<PackReport>(std::move(report_)) : status;
}

Status PackJob::report_dry_run(const TypeAllocator & allocator) {
    Result<TypeAllocation> allocation = allocate_for_limit(allocator, inputs_, options_);
    if (!allocation.is_ok()) {
        return allocation.status();
    }
    return describe(allocation.value());
}

Status PackJob::describe(const TypeAllocation & allocation) {
    report_.allocation = allocation;
    const Result<uint64_t> bytes = packed_bytes(inputs_, options_, allocation);
    if (!bytes.is_ok()) {
        return bytes.status();
    }
    report_.file_bytes = bytes.value();
    if (options_.target_cache_bytes == 0) {
        return Status::ok();
    }
    const Result<double> missed = ReadSimulation(inputs_.profile(), inputs_.source().experts())
                                      .read_bytes_per_token(allocation.types, options_.target_cache_bytes);
    if (missed.is_ok()) {
        report_.missed_bytes_per_token = missed.value();
    }
    return missed.status();
}

Status PackJob::write(const TypeAllocation & allocation) {
    written_ = {};  // two writers cannot have the same temporary file
    Result<WrittenPack> written = write_pack(inputs_, options_, output_, allocation, *journal_, progress_);
    if (written.is_ok()) {
        written_ = std::move(written).value();
    }
    return written.status();
}

Status PackJob::attempt(const TypeAllocation & allocation) {
    const double source_bytes = static_cast<double>(inputs_.source().experts().total_bytes());
    const Status fits = inputs_.check_memory(static_cast<double>(allocation.expert_bytes) / source_bytes);
    if (!fits.is_ok()) {
        return fits;
    }
    const Result<RoundingCost> cost = round_missing(inputs_, options_, allocation.types, progress_, journal_.get());
    if (!cost.is_ok()) {
        return cost.status();
    }
    report_.rounding_seconds += cost.value().seconds;
    if (cost.value().n_experts > 0) {
        report_.expert_seconds = cost.value().expert_seconds;
    }
    const Status status = write(allocation);
    if (!status.is_ok()) {
        return status;
    }
    const Result<Evaluation> measured = inputs_.measure(written_.writer->temporary_path());
    if (measured.is_ok()) {
        attempts_.push_back({allocation, measured.value()});
        chosen_ = attempts_.size() - 1;
    }
    return measured.status();
}

Status PackJob::attempt_to_tolerance(const TypeAllocator & allocator) {
    ToleranceSearch search(options_.max_kl, inputs_.is_large() ? kCloseOfLarge : kClose);
    for (bool goes_on = true; goes_on;) {
        const Result<TypeAllocation> allocation = allocator.for_divergence(search.limit());
        if (!allocation.is_ok()) {
            return allocation.status();
        }
        // With few matrices, another limit may change nothing.
        auto same = std::find_if(attempts_.begin(), attempts_.end(), [&](const Attempt & before) {
            return before.allocation.types == allocation.value().types;
        });
        const bool known = same != attempts_.end();
        if (!known) {
            const Status status = attempt(allocation.value());
            if (!status.is_ok()) {
                return status;
            }
            same = attempts_.end() - 1;
        }
        goes_on = search.add(same->measured.kl_divergence, known);
    }
    std::optional<size_t> best;
    double least = attempts_.front().measured.kl_divergence;
    for (size_t i = 0; i < attempts_.size(); i++) {
        least = std::min(least, attempts_[i].measured.kl_divergence);
        if (attempts_[i].measured.kl_divergence <= options_.max_kl &&
            (!best || attempts_[i].allocation.cost < attempts_[*best].allocation.cost)) {
            best = i;
        }
    }
    if (!best) {
        return Status(StatusCode::kUnsupported, "a KL divergence of " + std::to_string(options_.max_kl) +
                                                    " is not reached with these types: " + std::to_string(least) +
                                                    " is the least that was; allow more, or add larger types");
    }
    chosen_ = *best;
    // Where a later attempt lies under the temporary name: once more, from the journal.
    return chosen_ + 1 == attempts_.size() ? Status::ok() : write(attempts_[chosen_].allocation);
}

Status PackJob::finish() {
    const Attempt & chosen = attempts_[chosen_];
    PackedResults results;
    results.perplexity = chosen.measured.perplexity;
    results.kl_divergence = chosen.measured.kl_divergence;
    results.kl_divergence_error = chosen.measured.kl_divergence_error;
    results.argmax_agreement = chosen.measured.argmax_agreement;
    results.tokens = chosen.measured.tokens;
    written_.writer->set_results(results);
    Status status = describe(chosen.allocation);
    if (status.is_ok()) {
        status = written_.writer->finish();
    }
    if (status.is_ok()) {
        status = journal_->remove();
    }
    report_.measured = chosen.measured;
    report_.n_attempts = static_cast<int>(attempts_.size());
    report_.n_matrices = written_.n_matrices;
    report_.n_feedback = written_.n_feedback;
    return status;
}

// The options with a tolerance in place of the file that sets it.
Result<PackOptions> resolve_reference(const PackOptions & options, const PackInputs & inputs,
                                      std::optional<Evaluation> * reference) {
    PackOptions resolved = options;
    if (options.as_good_as.empty()) {
        return resolved;
    }
    const Result<Evaluation> measured = inputs.measure(options.as_good_as);
    if (!measured.is_ok()) {
        return measured.status();
    }
    if (measured.value().kl_divergence <= 0) {
        return Status(StatusCode::kInvalidArgument,
                      options.as_good_as + ": does not differ from the model; nothing smaller is as good");
    }
    *reference = measured.value();
    resolved.max_kl = measured.value().kl_divergence;
    return resolved;
}

}  // namespace

Result<PackReport> pack(const std::string & model, const std::string & profile, const std::string & output,
                        const PackOptions & options, const JobProgress & progress) {
    const Status limit = check_limit(options);
    if (!limit.is_ok()) {
        return limit;
    }
    const Result<std::unique_ptr<PackInputs>> inputs = PackInputs::open(model, profile, output, options, progress);
    if (!inputs.is_ok()) {
        return inputs.status();
    }
    std::optional<Evaluation> reference;
    const Result<PackOptions> resolved = resolve_reference(options, *inputs.value(), &reference);
    if (!resolved.is_ok()) {
        return resolved.status();
    }
    Result<PackReport> report = PackJob(output, resolved.value(), progress, *inputs.value()).run();
    // After a failure they stay: the next run goes on from them.
    if (report.is_ok()) {
        report.value().reference = reference;
        inputs.value()->remove_activations();
    }
    return report;
}

}  // namespace edgemoe
