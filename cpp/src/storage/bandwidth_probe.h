// How fast a device delivers requests of the size that will really be made: a short run of real reads.
#pragma once

#include "base/status.h"
#include "storage/async_reader.h"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace edgemoe {

// A piece of a file to be read; aligned and padded as a ReadRequest when it is read.
struct FileSpan {
    const File * file = nullptr;
    uint64_t offset = 0;
    uint64_t bytes = 0;
};

struct Bandwidth {
    uint64_t requests = 0;
    uint64_t bytes = 0;  // as read, with the padding
    double seconds = 0;

    double bytes_per_second() const { return seconds > 0 ? static_cast<double>(bytes) / seconds : 0; }
};

// Reads `spans` in order through `reader`, with at most `n_in_flight` requests in flight, until all are read or
// `most_seconds` have passed; what is in flight then is waited for and counted. Blocks. Fails with the first read's
// failure, or with kOutOfBudget. REQUIRES: the reader is idle, n_in_flight >= 1, the files outlive the call.
Result<Bandwidth> probe_bandwidth(AsyncReader & reader, const std::vector<FileSpan> & spans, size_t n_in_flight,
                                  double most_seconds);

}  // namespace edgemoe
