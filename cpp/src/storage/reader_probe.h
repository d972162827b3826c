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

// Bytes per second of two engines: the fastest of several batches of either, which alternate and lie between each
// other.
struct ReaderSpeeds {
    double usual = 0;
    double other = 0;
};

// Batches of `n_reads` reads of `read_bytes` bytes: up to 4 of either while that takes less than 8 ms; and up to 16,
// and 100 ms, while `other` looks more than `clearly` times as fast as `usual`, since a busy processor delays one batch
// or two. Fails as probe_reader() does.
Result<ReaderSpeeds> compare_readers(AsyncReader & usual, AsyncReader & other, const File & file, size_t read_bytes,
                                     size_t n_reads, double clearly);

}  // namespace edgemoe
