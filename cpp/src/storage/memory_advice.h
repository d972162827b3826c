// What the kernel is told, and says, about stretches of the process's anonymous memory.
#pragma once

#include "base/status.h"

#include <cstddef>
#include <cstdint>

namespace edgemoe {

// The usual size of a huge page; what is smaller is given small ones.
constexpr size_t kHugePageBytes = size_t{2} << 20;

// Asks for huge pages inside [start, start + bytes): fewer page faults while it is filled, fewer TLB misses afterwards.
// Best effort. To be called before the memory is touched.
void prefer_huge_pages(void * start, size_t bytes);

// Keeps the pages of [start, start + bytes) from being swapped out, each from when it is first touched. Unmapping
// undoes it. kOutOfBudget when the kernel refuses; the message names the limit (RLIMIT_MEMLOCK) and what to do.
Status lock_in_memory(void * start, size_t bytes);

// Bytes of the pages of [start, start + bytes) that are in memory. `start` is the beginning of a page. 0 where the
// kernel does not say.
uint64_t touched_bytes(void * start, size_t bytes);

}  // namespace edgemoe
