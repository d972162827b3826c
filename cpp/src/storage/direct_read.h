// Reading a stretch of a file into memory of any alignment without leaving a copy in the page cache.
#pragma once

#include "base/status.h"
#include "storage/file.h"

#include <cstddef>
#include <cstdint>

namespace edgemoe {

// Reads exactly `bytes` bytes at `offset` into `destination` by direct I/O where the file has it, through an aligned
// buffer of a few MiB; otherwise as File::read(). Blocks. Fails as File::read() does. Thread-safe.
Status read_past_page_cache(const File & file, uint64_t offset, size_t bytes, void * destination);

}  // namespace edgemoe
