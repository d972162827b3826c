// Rounds an expert's matrices to the types that were chosen for them.
#pragma once

#include "base/expert_id.h"
#include "base/status.h"
#include "engine/activation_spill.h"
#include "engine/calibration_split.h"
#include "engine/expert_moments.h"
#include "engine/gguf_source.h"
#include "engine/packed_layout.h"
#include "engine/rounding_journal.h"
#include "engine/sensitivity.h"

#include <cstdint>

namespace edgemoe {

class FeedbackFactors;

// One thread at a time, any number of objects. All arguments of the constructor outlive it.
class ExpertRounder {
public:
    ExpertRounder(const GgufSource & source, const CalibrationSplit & split, Rounding rounding)
        : source_(source), split_(split), rounding_(rounding), moments_(source, split) {}

    // Rounds those matrices of the expert that have a type in `types` and are not in the journal, and appends them to
    // it. Scales and minima are ggml's, with the expert's own importance; the integers are chosen by error feedback,
    // and kept where their quadratic error on the text that was not fitted (of a sample of the rows) is less than that
    // of ggml's own. Where no such text reaches the expert, ggml's own are taken: they cannot have been fitted to too
    // little.
    Status round(const LayerActivations & activations, const MomentsPrior & prior, int32_t expert,
                 const ExpertTypes & types, RoundingJournal * journal);

private:
    Result<RoundedPart> round_matrix_part(ExpertId id, Projection projection, int32_t type,
                                          const ExpertMoments & moments, FeedbackFactors * factors);

    const GgufSource & source_;
    const CalibrationSplit & split_;
    Rounding rounding_;
    ExpertMomentsReader moments_;
};

}  // namespace edgemoe
