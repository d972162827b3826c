// Independent pieces of work on several threads, while the calling thread reports how far they are.
#pragma once

#include "base/status.h"

#include <cstddef>
#include <functional>

namespace edgemoe {

// Calls work(index, thread) for every index below `n`, in rising order of their beginnings, on `n_threads` threads;
// `thread` is below n_threads, for memory that a thread keeps. Returns the first failure, after what was running has
// ended; nothing begins after a failure. `progress` (may be empty) is called on the calling thread with the number of
// finished pieces, a few times a second; false ends the work with kCancelled.
Status run_in_parallel(size_t n, int n_threads, const std::function<Status(size_t index, int thread)> & work,
                       const std::function<bool(size_t n_done)> & progress);

}  // namespace edgemoe
