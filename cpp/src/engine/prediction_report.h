// How well each predictor knows what a model's layers will choose, and what an expert cache gains from it: fitted on
// one text (a profile), judged on another.
#pragma once

#include "base/status.h"
#include "engine/expert_maps.h"
#include "engine/job_progress.h"
#include "engine/load_options.h"
#include "simulate/comparison.h"

#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace edgemoe {

// Share of the experts that a layer chose which were among as many that were named as likeliest.
struct PredictorRecall {
    std::string predictor;
    // By layer that the prediction is made in, by distance - 1. NaN where it makes none.
    std::vector<std::array<double, kMapDistances>> by_layer;
    // Mean over the layers whose target is of the same token, and over all layers.
    std::array<double, kMapDistances> mean = {};
    std::array<double, kMapDistances> mean_of_all = {};
};

struct PredictionReport {
    int64_t n_tokens = 0;         // judged
    int64_t n_fitted_tokens = 0;  // of the profile
    std::vector<int32_t> layers;  // block numbers of the layers that are evaluated
    std::vector<double> control;  // by layer: the layer's own router on its own input; NaN: its weights are not known
    std::vector<PredictorRecall> predictors;
    std::vector<ComparisonRow> retention;  // the text decoded token by token
};

struct PredictionOptions {
    LoadOptions load;        // memory, threads, io; the context is the profile's window
    uint64_t n_tokens = 0;   // most tokens of the text that are used; 0: all
    std::string spill_path;  // of the activations; "": the profile's path and ".judged"; removed at the end
    bool keep_spill = false;
    std::vector<std::string> policies;                        // empty: all that are compared
    std::vector<double> cache_shares = {0.1, 0.2, 0.3, 0.5};  // of all experts' bytes
};

// On failure: as run_profile(); kInvalidArgument for a profile of another model.
Result<PredictionReport> judge_predictors(const std::string & model, const std::string & profile,
                                          const std::string & text, const PredictionOptions & options,
                                          const JobProgress & progress);

// One JSON object; docs/prediction.md lists its keys.
std::string to_json(const PredictionReport & report);

}  // namespace edgemoe
