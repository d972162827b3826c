// How fast an engine reads a file here and now.
#pragma once

#include "base/status.h"
#include "storage/async_reader.h"
#include "storage/file.h"

#include <cstddef>
#include <cstdint>

namespace edgemoe {

// Which stretch of a file a probe reads: reads number `first`, `first + step`, ... of those that are spread evenly over
// it. Two probes of one file with different numbers read different bytes, which no cache on the way has seen.
struct ProbePlan {
    size_t read_bytes = 0;  // of one read; a multiple of kDirectAlignment
    size_t n_reads = 0;     // at most; all are in flight at once
    size_t first = 0;
    size_t step = 1;
};

// Bytes per second, measured over one batch of reads that `reader`, which is idle, makes for real. Fails as its reads
// do, with kUnsupported for a file of fewer reads than the plan has, and with kOutOfBudget for want of memory. Blocks
// until all reads have ended.
Result<double> probe_reader(AsyncReader & reader, const File & file, const ProbePlan & plan);

}  // namespace edgemoe
