// Reading many stretches of files as fast as the disk gives them: several reads in flight, and what has arrived is
// taken by several threads.
#pragma once

#include "base/status.h"
#include "storage/async_reader.h"
#include "storage/file.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

namespace edgemoe {

struct Stretch {
    const File * file = nullptr;
    uint64_t offset = 0;  // of any alignment
    size_t bytes = 0;
};

struct BulkReadOptions {
    size_t n_buffers = 8;  // reads in flight or being taken, each with a buffer of the longest stretch; at least 1
    int n_threads = 1;     // that take, the calling one among them
    // Called on the calling thread with the part of the bytes that is done, from 0 to 1; false stops. May be empty.
    std::function<bool(float)> progress;
};

// Reads all `stretches`, in order, and calls `take` once for each with its number and its bytes, which are valid during
// the call; on any of the threads, several at a time. Blocks. Fails with the first failure: the reader's, kFormat where
// a file has become too short, kCancelled by `progress`, kOutOfBudget for want of memory; *failed is the stretch, or
// stretches.size() where it is none's fault. Nothing is in flight afterwards. REQUIRES: nobody else uses `reader`.
Status bulk_read(const std::vector<Stretch> & stretches, AsyncReader & reader, const BulkReadOptions & options,
                 const std::function<void(size_t, const std::byte *)> & take, size_t * failed);

}  // namespace edgemoe
