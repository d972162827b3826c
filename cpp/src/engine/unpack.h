// Back from a packed file to a stock GGUF file, for tools that know no other: the experts of a layer stacked in one
// tensor a projection, which has one type.
#pragma once

#include "base/status.h"
#include "engine/job_progress.h"

#include <cstdint>
#include <string>

namespace edgemoe {

struct UnpackOptions {
    // Type of the stacks by its ggml name. "": for each stack the one with the most bits among its experts', so that
    // these are copied as they are, and the others, which are converted to it, lose little. "f32" holds every type's
    // values exactly.
    std::string type;
    int32_t n_threads = 0;  // 0: the cores that this process may use
};

// Unpacks the packed file at `path` into `output`; memory is bounded by one matrix. `progress` may be empty.
// kInvalidArgument: not a packed file, an unknown type, or one that the rows of a tensor do not fit. Otherwise fails as
// GgufSource::open, read_matrix and OutputFile do; then nothing is left at `output` that was not there.
Status unpack(const std::string & path, const std::string & output, const UnpackOptions & options,
              const JobProgress & progress);

}  // namespace edgemoe
