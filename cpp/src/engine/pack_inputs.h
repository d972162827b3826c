// What packing works from: the model's file, its profile, the activations of the calibration text, and the damages that
// are expected of each type.
#pragma once

#include "base/status.h"
#include "engine/activation_spill.h"
#include "engine/calibration_split.h"
#include "engine/evaluate.h"
#include "engine/gguf_source.h"
#include "engine/job_progress.h"
#include "engine/pack.h"
#include "engine/profile.h"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace edgemoe {

// One thread at a time.
class PackInputs {
public:
    // Opens model and profile. `options` and `progress` outlive it. `output`: "" in a dry run; activations that have to
    // be made anew lie beside it. kInvalidArgument: the profile of another model; kUnsupported: no routed experts. And
    // as GgufSource::open and Profile::load.
    static Result<std::unique_ptr<PackInputs>> open(const std::string & model, const std::string & profile,
                                                    const std::string & output, const PackOptions & options,
                                                    const JobProgress & progress);

    const GgufSource & source() const { return *source_; }
    const Profile & profile() const { return profile_; }
    const std::string & profile_path() const { return profile_path_; }
    const CalibrationSplit & split() const { return split_; }
    // REQUIRES: find_sensitivity() has succeeded.
    const SensitivityTable & sensitivity() const { return sensitivity_; }

    // Takes the profile's sensitivities where they are for these options, otherwise estimates them, and saves them in
    // the profile if they belong to this very file.
    Status find_sensitivity();
    // The calibration text's activations: those that were kept, or, at the first call, from another pass. Borrowed.
    Result<const ActivationSpill *> activations();
    // Closes the activations, and deletes them if they were made here.
    void remove_activations();

    // How far a file is from the model, on the calibration text's held-back part: on the same tokens whatever the file
    // and the limit, so that figures can be compared. As evaluate_tokens().
    Result<Evaluation> measure(const std::string & path) const;

    // kOutOfBudget if a file whose experts take `expert_share` of the source's cannot be measured for want of memory.
    Status check_memory(double expert_share) const;

    // Large models are measured on fewer tokens.
    bool is_large() const;
    // What a user should know of the model and the profile.
    std::vector<std::string> warnings() const;

private:
    EvaluateOptions evaluate_options() const;
    PackInputs(std::string model, std::string profile_path, std::string output, const PackOptions & options,
               const JobProgress & progress, std::unique_ptr<GgufSource> source, Profile profile,
               CalibrationSplit split);

    const std::string model_;
    const std::string profile_path_;
    const std::string output_;
    const PackOptions & options_;
    const JobProgress & progress_;
    std::unique_ptr<GgufSource> source_;
    Profile profile_;
    CalibrationSplit split_;
    SensitivityTable sensitivity_;
    std::unique_ptr<ActivationSpill> spill_;
    std::string spill_to_remove_;
};

}  // namespace edgemoe
