// Packs a model as it is: every matrix keeps its type, nothing is lost. What it brings is one contiguous block for each
// expert, checksums, and one file for a split model.
#pragma once

#include "base/status.h"
#include "engine/job_progress.h"

#include <string>

namespace edgemoe {

// Packs the model at `path` (of a split one: the first file) into `output`. `progress` may be empty. Fails as
// GgufSource::open and PackedWriter do; then nothing is left at `output` that was not there.
Status pack_unchanged(const std::string & path, const std::string & output, const JobProgress & progress);

}  // namespace edgemoe
