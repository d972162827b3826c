// Rounds the matrices that an allocation needs and the journal beside the output has not.
#pragma once

#include "base/expert_id.h"
#include "base/status.h"
#include "engine/pack_inputs.h"
#include "engine/packed_layout.h"
#include "engine/rounding_journal.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace edgemoe {

// Whether a matrix gets a type other than its own, and so is rounded; others are copied. `projection`: a Projection.
bool is_rounded(const GgufSource & source, ExpertId id, size_t projection, int32_t type);

// The journal of an output: its matrices are those of this model, calibration text and way of rounding, or none.
Result<std::unique_ptr<RoundingJournal>> open_rounding_journal(const PackInputs & inputs, const PackOptions & options,
                                                               const std::string & output);

struct RoundingCost {
    double seconds = 0;
    size_t n_experts = 0;       // of which at least one matrix was rounded
    double expert_seconds = 0;  // of one thread, for one of them
};

// Rounds what is missing, layer by layer, the experts of a layer in parallel. Memory: a layer's activations, and for
// each thread one expert's moments, factor and matrices.
Result<RoundingCost> round_missing(PackInputs & inputs, const PackOptions & options, const PackedTypes & types,
                                   const JobProgress & progress, RoundingJournal * journal);

}  // namespace edgemoe
