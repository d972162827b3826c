// Fits the maps of a model (engine/expert_maps.h) to a text whose activations were spilled; docs/prediction.md says to
// what, and how well they then predict.
#pragma once

#include "base/status.h"
#include "engine/activation_spill.h"
#include "engine/expert_maps.h"
#include "engine/gguf_source.h"
#include "engine/job_progress.h"

#include <cstdint>

namespace edgemoe {

// Of all evaluated layers of `spill`, which is of `source`; tokens from different windows of `n_ctx` tokens do not
// follow each other. Empty maps where fewer than two layers are evaluated. kIo, kCancelled. The same bits at any number
// of threads. Memory: one layer's activations, the routing, and 2 bytes for each token and expert of a few layers.
Result<ExpertMaps> train_maps(const GgufSource & source, const ActivationSpill & spill, int32_t n_ctx, int n_threads,
                              const JobProgress & progress);

// Maps that nothing was fitted to: the routers of the next layers, applied early. They say nothing of the next use and
// of the next token. Empty where a router is not known. kIo.
Result<ExpertMaps> untrained_maps(const GgufSource & source, MapContent content);

}  // namespace edgemoe
