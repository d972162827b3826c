#include "engine/pack_inputs.h"

#include "engine/model_identity.h"
#include "engine/profile_run.h"
#include "engine/sensitivity.h"

#include "ggml.h"

#include <filesystem>
#include <utility>

namespace edgemoe {

namespace {

constexpr uint64_t kLargeModelBytes = uint64_t{2} << 30;
// Held-back windows that are measured, at most.
constexpr int64_t kMostWindows = 64;
constexpr int64_t kMostWindowsOfLarge = 8;
constexpr size_t kMostNames = 8;  // of experts in a warning

bool is_float(int32_t type) {
    return type == GGML_TYPE_F32 || type == GGML_TYPE_F16 || type == GGML_TYPE_BF16;
}

}  // namespace

PackInputs::PackInputs(std::string model, std::string profile_path, std::string output, const PackOptions & options,
                       const JobProgress & progress, std::unique_ptr<GgufSource> source, Profile profile,
                       CalibrationSplit split)
    : model_(std::move(model)),
      profile_path_(std::move(profile_path)),
      output_(std::move(output)),
      options_(options),
      progress_(progress),
      source_(std::move(source)),
      profile_(std::move(profile)),
      split_(std::move(split)) {}

Result<std::unique_ptr<PackInputs>> PackInputs::open(const std::string & model, const std::string & profile_path,
                                                     const std::string & output, const PackOptions & options,
                                                     const JobProgress & progress) {
    Result<std::unique_ptr<GgufSource>> source = GgufSource::open(model, true);
    if (!source.is_ok()) {
        return source.status();
    }
    if (source.value()->experts().empty()) {
        return Status(StatusCode::kUnsupported, model + ": has no routed experts; there is nothing to pack");
    }
    Result<Profile> profile = Profile::load(profile_path);
    if (!profile.is_ok()) {
        return profile.status();
    }
    const Result<ModelIdentity> identity = ModelIdentity::of(*source.value());
    if (!identity.is_ok()) {
        return identity.status();
    }
    const ModelIdentity & profiled = profile.value().model;
    if (!profiled.same_network(identity.value())) {
        return Status(StatusCode::kInvalidArgument, profile_path + ": is the profile of another model (" +
                                                        profiled.architecture + " " + profiled.name +
                                                        "); make one of " + model);
    }
    Result<CalibrationSplit> split =
        CalibrationSplit::of(static_cast<int64_t>(profile.value().tokens.size()), profile.value().n_ctx);
    if (!split.is_ok()) {
        return Status(split.status().code(), profile_path + ": " + split.status().message());
    }
    return std::unique_ptr<PackInputs>(new PackInputs(model, profile_path, output, options, progress,
                                                      std::move(source).value(), std::move(profile).value(),
                                                      std::move(split).value()));
}

bool PackInputs::is_large() const {
    return source_->experts().total_bytes() > kLargeModelBytes;
}

Result<const ActivationSpill *> PackInputs::activations() {
    if (spill_ != nullptr) {
        return spill_.get();
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
        model_, profile_.tokens, static_cast<uint32_t>(profile_.n_ctx), path, options_.load, progress_);
    if (!spill.is_ok()) {
        return spill.status();
    }
    spill_ = std::move(spill).value();
    return spill_.get();
}

void PackInputs::remove_activations() {
    spill_.reset();
    if (!spill_to_remove_.empty()) {
        ActivationSpill::remove(spill_to_remove_);
    }
}

EvaluateOptions PackInputs::evaluate_options() const {
    EvaluateOptions options;
    options.load = options_.load;
    options.n_ctx = static_cast<uint32_t>(profile_.n_ctx);
    return options;
}

Result<Evaluation> PackInputs::measure(const std::string & path) const {
    const int64_t most = is_large() ? kMostWindowsOfLarge : kMostWindows;
    return evaluate_tokens(path, model_, split_.held_tokens(profile_.tokens, most), evaluate_options(), progress_);
}

Status PackInputs::check_memory(double expert_share) const {
    return check_memory_with_base(model_, expert_share, evaluate_options());
}

Status PackInputs::find_sensitivity() {
    SensitivityOptions wanted;
    wanted.types = options_.ladder;
    wanted.rounding = options_.rounding;
    wanted.measured = options_.measured_sensitivity;
    wanted.load = options_.load;
    const Result<ModelIdentity> identity = ModelIdentity::of(*source_);
    const bool same_file = identity.is_ok() && profile_.model.same_file(identity.value());
    if (same_file && profile_.sensitivity && covers(*profile_.sensitivity, wanted)) {
        sensitivity_ = *profile_.sensitivity;
        return Status::ok();
    }
    const Result<const ActivationSpill *> spill = activations();
    if (!spill.is_ok()) {
        return spill.status();
    }
    Result<SensitivityTable> table =
        estimate_sensitivity(*source_, profile_, split_, *spill.value(), wanted, progress_);
    if (!table.is_ok()) {
        return table.status();
    }
    sensitivity_ = std::move(table).value();
    if (same_file && (!profile_.sensitivity || options_.rounding == Rounding::kFeedback)) {
        profile_.sensitivity = sensitivity_;
        return profile_.save(profile_path_);
    }
    return Status::ok();
}

std::vector<std::string> PackInputs::warnings() const {
    std::vector<std::string> warnings;
    for (const ExpertPart & part : source_->experts().layers().front().experts.front()) {
        if (part.present && !is_float(part.type)) {
            warnings.push_back(model_ + ": is quantized already (" + ggml_type_name(static_cast<ggml_type>(part.type)) +
                               "); quality is lost twice: pack the original, if you can");
            break;
        }
    }
    const std::vector<ExpertId> unreached = profile_.hardly_reached();
    if (!unreached.empty()) {
        std::string names;
        for (size_t i = 0; i < unreached.size() && i < kMostNames; i++) {
            names +=
                (i > 0 ? ", " : "") + std::to_string(unreached[i].layer) + "/" + std::to_string(unreached[i].expert);
        }
        warnings.push_back(std::to_string(unreached.size()) +
                           " experts are hardly reached by the calibration text and are treated as ordinary ones "
                           "(layer/expert " +
                           names + (unreached.size() > kMostNames ? ", ..." : "") + ")");
    }
    return warnings;
}

}  // namespace edgemoe
