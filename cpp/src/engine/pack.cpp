// Allocate, round what is not in the journal, write, measure; with a tolerance to meet: once more with another limit.
#include "engine/pack.h"

#include "engine/activation_spill.h"
#include "engine/calibration_split.h"
#include "engine/expert_bytes.h"
#include "engine/expert_rounding.h"
#include "engine/memory_plan.h"
#include "engine/model_identity.h"
#include "engine/packed_format.h"
#include "engine/packed_writer.h"
#include "engine/parallel_work.h"
#include "engine/profile_run.h"
#include "engine/rounding_journal.h"

#include "ggml.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>

namespace edgemoe {

namespace {

// Part of the journal's identity: changes when other bytes would come out for the same key.
constexpr uint64_t kRoundingVersion = 1;

// Held-back windows that are measured: all in order to meet a tolerance, otherwise enough to report.
constexpr int64_t kMostWindows = 64;
constexpr int64_t kReportedWindows = 16;
constexpr int64_t kWindowsOfLarge = 8;
constexpr uint64_t kLargeModelBytes = uint64_t{2} << 30;

// A tolerance counts as used up from here on.
constexpr double kClose = 0.97;
constexpr int kMostAttempts = 8;
constexpr double kLeastShare = 1e-3;  // of a limit that was not met: a lower one is hopeless

constexpr double kCurveStep = 0.25;  // bits
constexpr double kCurveEnd = 6.75;

class PackJob {
public:
    PackJob(std::string model, std::string profile_path, std::string output, const PackOptions & options,
            const JobProgress & progress)
        : model_(std::move(model)),
          profile_path_(std::move(profile_path)),
          output_(std::move(output)),
          options_(options),
          progress_(progress) {}

    Result<PackReport> run();

private:
    Status run_steps();
    Status open();
    Status open_spill();
    Status find_sensitivity();
    Result<TypeAllocation> allocate() const;
    Result<TypeAllocation> fit_file(uint64_t file_bytes) const;
    Status make_curve();
    void warn();

    Status open_journal();
    Status round_missing(const PackedTypes & types);
    Result<std::unique_ptr<PackedWriter>> write(const TypeAllocation & allocation);
    Status measure(PackedWriter * writer, Evaluation * measured);
    Status pack_once();
    Status pack_to_tolerance();
    Status finish(std::unique_ptr<PackedWriter> writer, const TypeAllocation & allocation, const Evaluation & measured);

    bool is_large() const { return source_->experts().total_bytes() > kLargeModelBytes; }
    bool is_rounded(ExpertId id, size_t projection, int32_t type) const {
        return type != kNoType && type != source_->experts().parts(id)[projection].type;
    }
    std::vector<GgufKeyValue> extra(const TypeAllocation & allocation) const;

    const std::string model_;
    const std::string profile_path_;
    const std::string output_;
    const PackOptions & options_;
    const JobProgress & progress_;

    std::unique_ptr<GgufSource> source_;
    std::optional<Profile> profile_;
    std::optional<CalibrationSplit> split_;
    std::unique_ptr<ActivationSpill> spill_;
    std::string spill_to_remove_;
    std::optional<SensitivityTable> table_;
    std::optional<TypeAllocator> allocator_;
    std::unique_ptr<RoundingJournal> journal_;
    PackReport report_;
};

Result<PackReport> PackJob::run() {
    Status status = run_steps();
    spill_.reset();
    // After a failure they stay: the next run goes on from them.
    if (status.is_ok() && !spill_to_remove_.empty()) {
        ActivationSpill::remove(spill_to_remove_);
    }
    return status.is_ok() ? Result<PackReport>(std::move(report_)) : status;
}

Status PackJob::run_steps() {
    Status status = open();
    if (status.is_ok()) {
        status = find_sensitivity();
    }
    if (!status.is_ok()) {
        return status;
    }
    Result<TypeAllocator> allocator = TypeAllocator::create(
        *source_, *profile_, *table_, {options_.ladder, options_.objective, options_.prefer_speed});
    if (!allocator.is_ok()) {
        return allocator.status();
    }
    allocator_.emplace(std::move(allocator).value());
    warn();
    status = make_curve();
    if (!status.is_ok()) {
        return status;
    }
    report_.speeds = allocator_->speeds();
    for (const ExpertLayer & layer : source_->experts().layers()) {
        report_.layers.push_back(layer.layer);
    }
    if (options_.dry_run) {
        Result<TypeAllocation> allocation = allocate();
        if (!allocation.is_ok()) {
            return allocation.status();
        }
        report_.allocation = std::move(allocation).value();
        const Result<uint64_t> bytes =
            packed_file_bytes(*source_, report_.allocation.types, extra(report_.allocation), &profile_->maps);
        if (!bytes.is_ok()) {
            return bytes.status();
        }
        report_.file_bytes = bytes.value();
        return Status::ok();
    }
    status = open_journal();
    if (status.is_ok()) {
        status = options_.max_kl > 0 ? pack_to_tolerance() : pack_once();
    }
    return status;
}

// ---- what is known ----

Status PackJob::open() {
    const int n_limits = (options_.max_kl != 0) + (options_.size_bytes != 0) + (options_.bits != 0);
    if (n_limits != 1 || !(options_.max_kl >= 0) || !(options_.bits >= 0)) {
        return Status(StatusCode::kInvalidArgument,
                      "give one limit: the tolerated KL divergence, the file's size, or bits per expert weight");
    }
    if (options_.size_bytes != 0 && options_.objective == PackObjective::kReadBytes) {
        return Status(StatusCode::kInvalidArgument,
                      "a file size cannot be kept where rare experts count for nothing: with the objective read-bytes, "
                      "give bits or a tolerated KL divergence");
    }
    Result<std::unique_ptr<GgufSource>> source = GgufSource::open(model_, true);
    if (!source.is_ok()) {
        return source.status();
    }
    source_ = std::move(source).value();
    if (source_->experts().empty()) {
        return Status(StatusCode::kUnsupported, model_ + ": has no routed experts; there is nothing to pack");
    }
    Result<Profile> profile = Profile::load(profile_path_);
    if (!profile.is_ok()) {
        return profile.status();
    }
    profile_.emplace(std::move(profile).value());
    const Result<ModelIdentity> identity = ModelIdentity::of(*source_);
    if (!identity.is_ok()) {
        return identity.status();
    }
    if (!profile_->model.same_network(identity.value())) {
        return Status(StatusCode::kInvalidArgument, profile_path_ + ": is the profile of another model (" +
                                                        profile_->model.architecture + " " + profile_->model.name +
                                                        "); make one of " + model_);
    }
    Result<CalibrationSplit> split =
        CalibrationSplit::of(static_cast<int64_t>(profile_->tokens.size()), profile_->n_ctx);
    if (!split.is_ok()) {
        return Status(split.status().code(), profile_path_ + ": " + split.status().message());
    }
    split_.emplace(std::move(split).value());
    return Status::ok();
}

Status PackJob::open_spill() {
    if (spill_ != nullptr) {
        return Status::ok();
    }
    const std::string kept = profile_path_ + ".activations";
    std::string path = (output_.empty() ? profile_path_ : output_) + ".activations";
    std::error_code ignored;
    if (std::filesystem::exists(kept, ignored)) {
        path = kept;
    } else {
        spill_to_remove_ = path;
    }
    Result<std::unique_ptr<ActivationSpill>> spill = capture_activations(
        model_, profile_->tokens, static_cast<uint32_t>(profile_->n_ctx), path, options_.load, progress_);
    if (!spill.is_ok()) {
        return spill.status();
    }
    spill_ = std::move(spill).value();
    return Status::ok();
}

Status PackJob::find_sensitivity() {
    SensitivityOptions wanted;
    wanted.types = options_.ladder;
    wanted.rounding = options_.rounding;
    wanted.measured = options_.measured_sensitivity;
    wanted.load = options_.load;
    const Result<ModelIdentity> identity = ModelIdentity::of(*source_);
    const bool same_file = identity.is_ok() && profile_->model.same_file(identity.value());
    if (same_file && profile_->sensitivity && covers(*profile_->sensitivity, wanted)) {
        table_ = profile_->sensitivity;
        return Status::ok();
    }
    Status status = open_spill();
    if (!status.is_ok()) {
        return status;
    }
    Result<SensitivityTable> table = estimate_sensitivity(*source_, *profile_, *split_, *spill_, wanted, progress_);
    if (!table.is_ok()) {
        return table.status();
    }
    table_.emplace(std::move(table).value());
    if (same_file && (!profile_->sensitivity || options_.rounding == Rounding::kFeedback)) {
        profile_->sensitivity = table_;
        status = profile_->save(profile_path_);
    }
    return status;
}

void PackJob::warn() {
    const auto is_float = [](int32_t type) {
        return type == GGML_TYPE_F32 || type == GGML_TYPE_F16 || type == GGML_TYPE_BF16;
    };
    for (const ExpertPart & part : source_->experts().layers().front().experts.front()) {
        if (part.present && !is_float(part.type)) {
            report_.warnings.push_back(model_ + ": is quantized already (" +
                                       ggml_type_name(static_cast<ggml_type>(part.type)) +
                                       "); quality is lost twice: pack the original, if you can");
            break;
        }
    }
    const std::vector<ExpertId> unreached = profile_->hardly_reached();
    if (!unreached.empty()) {
        std::string names;
        for (size_t i = 0; i < unreached.size() && i < 8; i++) {
            names +=
                (i > 0 ? ", " : "") + std::to_string(unreached[i].layer) + "/" + std::to_string(unreached[i].expert);
        }
        report_.warnings.push_back(
            std::to_string(unreached.size()) +
            " experts are hardly reached by the calibration text and are treated as ordinary ones "
            "(layer/expert " +
            names + (unreached.size() > 8 ? ", ..." : "") + ")");
    }
}

// ---- allocating ----

Result<TypeAllocation> PackJob::allocate() const {
    if (options_.bits > 0) {
        Result<TypeAllocation> found = allocator_->for_bits(options_.bits);
        if (!found.is_ok() && found.status().code() == StatusCode::kOutOfBudget) {
            return Status(StatusCode::kOutOfBudget, std::to_string(options_.bits) +
                                                        " bits per expert weight are too few: the least with these "
                                                        "types is " +
                                                        std::to_string(allocator_->least_bits()));
        }
        return found;
    }
    return options_.size_bytes > 0 ? fit_file(options_.size_bytes) : allocator_->for_divergence(options_.max_kl);
}

// The header depends a little on the types; so the experts' share of the file is found by trying.
Result<TypeAllocation> PackJob::fit_file(uint64_t file_bytes) const {
    TypeAllocation guess;
    guess.types = stored_types(source_->experts());
    Result<uint64_t> whole = packed_file_bytes(*source_, guess.types, extra(guess), &profile_->maps);
    if (!whole.is_ok()) {
        return whole.status();
    }
    uint64_t stored = 0;
    for (const ExpertLayer & layer : source_->experts().layers()) {
        for (const ExpertParts & parts : layer.experts) {
            for (const ExpertPart & part : parts) {
                stored += part.present ? (part.bytes + kPackedAlignment - 1) / kPackedAlignment * kPackedAlignment : 0;
            }
        }
    }
    uint64_t other = whole.value() - stored;
    for (int attempt = 0; attempt < 4; attempt++) {
        Result<TypeAllocation> found = file_bytes > other
                                           ? allocator_->for_padded_bytes(file_bytes - other)
                                           : Result<TypeAllocation>(Status(StatusCode::kOutOfBudget, ""));
        if (!found.is_ok()) {
            return found.status().code() == StatusCode::kOutOfBudget
                       ? Status(StatusCode::kOutOfBudget, mebibytes(file_bytes) +
                                                              " are too small for this model with these types; its hot "
                                                              "weights alone take " +
                                                              mebibytes(other))
                       : found.status();
        }
        whole = packed_file_bytes(*source_, found.value().types, extra(found.value()), &profile_->maps);
        if (!whole.is_ok() || whole.value() <= file_bytes) {
            return whole.is_ok() ? found : Result<TypeAllocation>(whole.status());
        }
        other += whole.value() - file_bytes;
    }
    return Status(StatusCode::kInternal, "the file does not come to its size");
}

Status PackJob::make_curve() {
    const double begin = std::ceil(allocator_->least_bits() / kCurveStep) * kCurveStep;
    for (double bits = begin; bits <= std::min(kCurveEnd, allocator_->most_bits()); bits += kCurveStep) {
        const Result<TypeAllocation> found = allocator_->for_bits(bits);
        if (!found.is_ok()) {
            continue;  // the least of an objective that counts otherwise
        }
        const Result<uint64_t> bytes =
            packed_file_bytes(*source_, found.value().types, extra(found.value()), &profile_->maps);
        if (!bytes.is_ok()) {
            return bytes.status();
        }
        report_.curve.push_back(
            {found.value().bits, found.value().kl_divergence, bytes.value(), found.value().read_bytes_per_token});
    }
    return Status::ok();
}

// ---- writing ----

Status PackJob::open_journal() {
    const Result<ModelIdentity> identity = ModelIdentity::of(*source_);
    if (!identity.is_ok()) {
        return identity.status();
    }
    uint64_t hash = kFnvStart;
    const auto add = [&hash](const auto & value) { hash = fnv1a(hash, &value, sizeof(value)); };
    add(kRoundingVersion);
    add(identity.value().header_checksum);
    add(identity.value().file_bytes);
    add(profile_->n_ctx);
    add(options_.rounding);
    hash = fnv1a(hash, profile_->tokens.data(), profile_->tokens.size() * sizeof(int32_t));
    Result<std::unique_ptr<RoundingJournal>> journal = RoundingJournal::open(output_ + ".rounding", hash);
    if (!journal.is_ok()) {
        return journal.status();
    }
    journal_ = std::move(journal).value();
    report_.n_resumed = journal_->n_found();
    return Status::ok();
}

Status PackJob::round_missing(const PackedTypes & types) {
    const std::vector<ExpertLayer> & layers = source_->experts().layers();
    // By position of the layer: experts with something to round, and what.
    std::map<size_t, std::vector<std::pair<int32_t, ExpertTypes>>> missing;
    size_t n_missing = 0;
    for (size_t layer = 0; layer < layers.size(); layer++) {
        for (size_t expert = 0; expert < types[layer].size(); expert++) {
            const ExpertId id{layers[layer].layer, static_cast<int32_t>(expert)};
            ExpertTypes wanted = types[layer][expert];
            bool any = false;
            for (size_t p = 0; p < kProjectionCount; p++) {
                if (!is_rounded(id, p, wanted[p])) {
                    wanted[p] = kNoType;
                } else {
                    any = any || !journal_->contains({id, static_cast<Projection>(p), wanted[p]});
                }
            }
            if (any) {
                missing[layer].emplace_back(id.expert, wanted);
                n_missing++;
            }
        }
    }
    if (missing.empty()) {
        return Status::ok();
    }
    Status status = open_spill();
    if (!status.is_ok()) {
        return status;
    }
    const auto begin = std::chrono::steady_clock::now();
    const int n_threads = thread_count(options_.load);
    std::vector<std::unique_ptr<ExpertRounder>> rounders;
    for (int i = 0; i < n_threads; i++) {
        rounders.push_back(std::make_unique<ExpertRounder>(*source_, *split_, options_.rounding));
    }
    ProgressMeter meter(progress_, "rounding");
    size_t n_before = 0;
    for (const auto & [layer, experts] : missing) {
        const LayerProfile * profile = profile_->find(layers[layer].layer);
        if (profile == nullptr) {
            return Status(StatusCode::kInvalidArgument,
                          profile_path_ + ": has nothing about layer " + std::to_string(layers[layer].layer));
        }
        Result<LayerActivations> activations =
            spill_->read_layer(static_cast<size_t>(profile - profile_->layers.data()));
        if (!activations.is_ok()) {
            return activations.status();
        }
        const MomentsPrior prior = MomentsPrior::of(activations.value(), *profile, *split_, n_threads);
        status = run_in_parallel(
            experts.size(), n_threads,
            [&, wanted = &experts](size_t i, int thread) {
                return rounders[static_cast<size_t>(thread)]->round(activations.value(), prior, (*wanted)[i].first,
                                                                    (*wanted)[i].second, journal_.get());
            },
            [&](size_t n_done) {
                return meter.report(static_cast<double>(n_before + n_done) / static_cast<double>(n_missing));
            });
        if (!status.is_ok()) {
            return status;
        }
        n_before += experts.size();
    }
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - begin;
    report_.rounding_seconds += elapsed.count();
    report_.expert_seconds = elapsed.count() * n_threads / static_cast<double>(n_missing);
    return Status::ok();
}

std::vector<GgufKeyValue> PackJob::extra(const TypeAllocation & allocation) const {
    std::vector<std::string> ladder;
    for (const int32_t type : options_.ladder) {
        ladder.emplace_back(ggml_type_name(static_cast<ggml_type>(type)));
    }
    std::vector<uint32_t> counts;
    for (const LayerProfile & layer : profile_->layers) {
        counts.insert(counts.end(), layer.counts.begin(), layer.counts.end());
    }
    const std::string limit = options_.max_kl > 0       ? "KL divergence " + std::to_string(options_.max_kl)
                              : options_.size_bytes > 0 ? "file of " + std::to_string(options_.size_bytes) + " bytes"
                                                        : std::to_string(options_.bits) + " bits per expert weight";
    const std::string prefix = kPackedPrefix;
    return {
        {prefix + "limit", limit},
        {prefix + "objective", std::string(options_.objective == PackObjective::kSize ? "size" : "read-bytes")},
        {prefix + "prefer_speed", options_.prefer_speed},
        {prefix + "ladder", ladder},
        {prefix + "rounding", std::string(options_.rounding == Rounding::kFeedback ? "error feedback" : "nearest")},
        {prefix + "sensitivity", table_->formula},
        {prefix + "expected_kl_divergence", allocation.kl_divergence},
        {prefix + "allocation_gap", allocation.gap},
        {prefix + "bits_per_expert_weight", allocation.bits},
        {prefix + "calibration_tokens", static_cast<uint64_t>(profile_->tokens.size())},
        {prefix + "expert_counts", counts},
    };
}

Result<std::unique_ptr<PackedWriter>> PackJob::write(const TypeAllocation & allocation) {
    Result<std::unique_ptr<PackedWriter>> created =
        PackedWriter::create(*source_, output_, allocation.types, extra(allocation), &profile_->maps);
    if (!created.is_ok()) {
        return created.status();
    }
    PackedWriter & writer = *created.value();
    ProgressMeter meter(progress_, "writing");
    if (!meter.report(0)) {
        return Status(StatusCode::kCancelled, output_ + ": packing was stopped");
    }
    Status status = writer.write_hot([&](uint64_t) { return meter.poll(); });
    if (!status.is_ok()) {
        return status;
    }
    std::vector<std::pair<ExpertId, const ExpertTypes *>> experts;
    const std::vector<ExpertLayer> & layers = source_->experts().layers();
    for (size_t layer = 0; layer < layers.size(); layer++) {
        for (size_t expert = 0; expert < allocation.types[layer].size(); expert++) {
            experts.emplace_back(ExpertId{layers[layer].layer, static_cast<int32_t>(expert)},
                                 &allocation.types[layer][expert]);
        }
    }
    std::atomic<uint64_t> n_matrices{0};
    std::atomic<uint64_t> n_feedback{0};
    status = run_in_parallel(
        experts.size(), thread_count(options_.load),
        [&](size_t i, int) {
            const ExpertId id = experts[i].first;
            ExpertBytes bytes;
            for (size_t p = 0; p < kProjectionCount; p++) {
                const int32_t type = (*experts[i].second)[p];
                const auto projection = static_cast<Projection>(p);
                if (is_rounded(id, p, type)) {
                    Result<RoundedPart> part = journal_->read({id, projection, type});
                    if (!part.is_ok()) {
                        return part.status();
                    }
                    n_matrices++;
                    n_feedback += part.value().feedback ? 1 : 0;
                    bytes[p] = std::move(part.value().bytes);
                } else if (type != kNoType) {
                    Status read = read_matrix(*source_, id, projection, &bytes[p]);
                    if (!read.is_ok()) {
                        return read;
                    }
                }
            }
            return writer.write_expert(id, bytes);
        },
        [&](size_t n_done) { return meter.report(static_cast<double>(n_done) / static_cast<double>(experts.size())); });
    if (status.is_ok()) {
        status = writer.seal();
    }
    report_.n_matrices = n_matrices;
    report_.n_feedback = n_feedback;
    return status.is_ok() ? std::move(created) : Result<std::unique_ptr<PackedWriter>>(status);
}

Status PackJob::measure(PackedWriter * writer, Evaluation * measured) {
    const int64_t most = is_large() ? kWindowsOfLarge : options_.max_kl > 0 ? kMostWindows : kReportedWindows;
    EvaluateOptions options;
    options.load = options_.load;
    options.n_ctx = static_cast<uint32_t>(profile_->n_ctx);
    Result<Evaluation> evaluation = evaluate_tokens(writer->temporary_path(), model_,
                                                    split_->held_tokens(profile_->tokens, most), options, progress_);
    if (evaluation.is_ok()) {
        *measured = evaluation.value();
        report_.n_attempts++;
    }
    return evaluation.status();
}

Status PackJob::finish(std::unique_ptr<PackedWriter> writer, const TypeAllocation & allocation,
                       const Evaluation & measured) {
    PackedResults results;
    results.perplexity = measured.perplexity;
    results.kl_divergence = measured.kl_divergence;
    results.kl_divergence_error = measured.kl_divergence_error;
    results.argmax_agreement = measured.argmax_agreement;
    results.tokens = measured.tokens;
    writer->set_results(results);
    Status status = writer->finish();
    if (status.is_ok()) {
        status = journal_->remove();
    }
    const Result<uint64_t> bytes = packed_file_bytes(*source_, allocation.types, extra(allocation), &profile_->maps);
    report_.file_bytes = bytes.is_ok() ? bytes.value() : 0;
    report_.allocation = allocation;
    report_.measured = measured;
    return status;
}

Status PackJob::pack_once() {
    Result<TypeAllocation> allocation = allocate();
    if (!allocation.is_ok()) {
        return allocation.status();
    }
    Status status = round_missing(allocation.value().types);
    if (!status.is_ok()) {
        return status;
    }
    Result<std::unique_ptr<PackedWriter>> writer = write(allocation.value());
    if (!writer.is_ok()) {
        return writer.status();
    }
    Evaluation measured;
    status = measure(writer.value().get(), &measured);
    return status.is_ok() ? finish(std::move(writer).value(), allocation.value(), measured) : status;
}

// The expected divergence is off by some factor that hardly depends on the limit, so the limit is divided by it;
// between a limit that was met and one that was not, the next is sought in proportion.
Status PackJob::pack_to_tolerance() {
    struct Tried {
        double limit = 0;
        double reached = 0;
        TypeAllocation allocation;
        Evaluation measured;
    };
    std::optional<Tried> met;     // the largest limit that was
    std::optional<Tried> missed;  // the smallest limit that was not
    double limit = options_.max_kl;
    PackedTypes last;
    for (int attempt = 0;; attempt++) {
        Result<TypeAllocation> allocation = allocator_->for_divergence(limit);
        if (!allocation.is_ok()) {
            return allocation.status();
        }
        // With few matrices, a slightly lower limit may change nothing.
        while (!met && missed && missed->limit > limit && allocation.value().types == missed->allocation.types &&
               limit > kLeastShare * missed->limit) {
            limit *= 0.9;
            allocation = allocator_->for_divergence(limit);
            if (!allocation.is_ok()) {
                return allocation.status();
            }
        }
        const bool repeats = attempt > 0 && allocation.value().types == last;
        last = allocation.value().types;
        Status status = round_missing(allocation.value().types);
        if (!status.is_ok()) {
            return status;
        }
        Result<std::unique_ptr<PackedWriter>> writer = write(allocation.value());
        if (!writer.is_ok()) {
            return writer.status();
        }
        Tried tried{limit, 0, allocation.value(), {}};
        status = measure(writer.value().get(), &tried.measured);
        if (!status.is_ok()) {
            return status;
        }
        tried.reached = tried.measured.kl_divergence;
        const bool is_met = tried.reached <= options_.max_kl;
        const bool is_last = attempt + 1 >= kMostAttempts || repeats;
        if (is_met && (tried.reached >= kClose * options_.max_kl || is_last)) {
            return finish(std::move(writer).value(), tried.allocation, tried.measured);
        }
        writer.value().reset();
        (is_met ? met : missed) = tried;
        if (is_last && met) {
            // Once more, from the journal, what had met it.
            writer = write(met->allocation);
            return writer.is_ok() ? finish(std::move(writer).value(), met->allocation, met->measured) : writer.status();
        }
        if (is_last) {
            return Status(StatusCode::kUnsupported,
                          "a KL divergence of " + std::to_string(options_.max_kl) +
                              " is not reached with these types: " + std::to_string(missed->reached) +
                              " is the least that was; allow more, or add larger types");
        }
        limit *= 0.985 * options_.max_kl / std::max(tried.reached, options_.max_kl * 1e-3);
        if (met && missed && (limit <= met->limit || limit >= missed->limit)) {
            limit = std::sqrt(met->limit * missed->limit);
        }
    }
}

}  // namespace

Result<PackReport> pack(const std::string & model, const std::string & profile, const std::string & output,
                        const PackOptions & options, const JobProgress & progress) {
    return PackJob(model, profile, output, options, progress).run();
}

}  // namespace edgemoe
