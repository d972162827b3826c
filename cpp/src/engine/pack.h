// `edgemoe pack`: a model whose experts have each the smallest types that a limit allows, rounded by error feedback.
#pragma once

#include "base/status.h"
#include "engine/evaluate.h"
#include "engine/job_progress.h"
#include "engine/load_options.h"
#include "engine/sensitivity.h"
#include "engine/type_allocator.h"

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace edgemoe {

struct PackOptions {
    // One of the four is given.
    double max_kl = 0;        // KL divergence to the source, on calibration text that was held back: measured, and met
    std::string as_good_as;   // file of the same network: what max_kl would be is measured on it, on the same text
    uint64_t size_bytes = 0;  // of the whole file
    double bits = 0;          // per expert weight

    PackObjective objective = PackObjective::kSize;
    uint64_t target_cache_bytes = 0;  // expert cache behind which reads are counted; 0: none
    bool prefer_speed = false;
    std::vector<int32_t> ladder = default_ladder();
    Rounding rounding = Rounding::kFeedback;
    bool measured_sensitivity = false;
    bool dry_run = false;  // allocate and report, write nothing
    LoadOptions load;      // memory and threads
};

// Expected figures of another limit.
struct PackPoint {
    double bits = 0;
    double kl_divergence = 0;
    uint64_t file_bytes = 0;
    double read_bytes_per_token = 0;
};

struct PackReport {
    TypeAllocation allocation;
    uint64_t file_bytes = 0;
    std::vector<int32_t> layers;    // block numbers, by position in allocation.types
    std::vector<TypeSpeed> speeds;  // of the ladder
    std::vector<PackPoint> curve;   // by rising bits
    std::vector<std::string> warnings;
    std::optional<double> missed_bytes_per_token;  // behind target_cache_bytes, by replay of the calibration text
    std::optional<Evaluation> reference;           // of as_good_as
    // Of what was written; zeros in a dry run.
    Evaluation measured;      // on the calibration text's held-back part
    int n_attempts = 0;       // allocations that were packed and measured
    uint64_t n_matrices = 0;  // that were rounded
    uint64_t n_feedback = 0;  // of these, by error feedback
    uint64_t n_resumed = 0;   // of these, by an earlier run
    double rounding_seconds = 0;
    double expert_seconds = 0;  // of one thread, to round an expert
};

// Writes `output` by `profile`, which belongs to the model or to the same network in other types; the profile is
// completed with sensitivities (and saved) where it has none that fit. The activations that were kept when profiling
// are used; without them the pass over the profile's tokens is repeated. `output` appears complete or not at all; the
// rounded matrices lie in `output`.rounding until then, so that a second start goes on where the first one was.
// kInvalidArgument: not exactly one limit, a profile of another model, as_good_as does not differ from the model.
// kOutOfBudget: the limit is below the least that the ladder has (the message has it), or too little memory or disk.
// kCancelled. And as GgufSource::open, Profile::load and PackedWriter.
Result<PackReport> pack(const std::string & model, const std::string & profile, const std::string & output,
                        const PackOptions & options, const JobProgress & progress);

}  // namespace edgemoe
