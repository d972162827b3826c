// Measured KL divergence of a model of which some experts are in a lower type: one projection of all experts of a
// layer, or all projections of one expert.
#pragma once

#include "base/status.h"
#include "engine/gguf_source.h"
#include "engine/job_progress.h"
#include "engine/load_options.h"
#include "engine/perturbed_model.h"
#include "engine/profile.h"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace edgemoe {

// One thread at a time.
class GroupDamage {
public:
    // Loads the model. `tokens`: whole windows to measure on. All but `tokens` outlive it.
    static Result<std::unique_ptr<GroupDamage>> create(const GgufSource & source, const Profile & profile,
                                                       const std::vector<int32_t> & tokens, const LoadOptions & load,
                                                       const std::string & scratch_folder);

    // Plain rounding by ggml, with the profile's importance.
    Result<double> of_projection(int32_t layer, Projection projection, int32_t type, const JobProgress & progress);
    Result<double> of_expert(ExpertId id, int32_t type, const JobProgress & progress);

    int64_t n_scored() const { return n_scored_; }

private:
    GroupDamage(const GgufSource & source, const Profile & profile) : source_(source), profile_(profile) {}
    Status lower(ExpertId id, Projection projection, int32_t type);
    Result<double> measure(const JobProgress & progress);

    const GgufSource & source_;
    const Profile & profile_;
    std::unique_ptr<PerturbedModel> model_;
    int64_t n_scored_ = 0;
};

}  // namespace edgemoe
