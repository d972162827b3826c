// What the process uses and what it may use, as the operating system says. Thread-safe; 0 where it cannot be known.
#pragma once

#include <cstdint>
#include <string>

namespace edgemoe {

uint64_t process_resident_bytes();
uint64_t process_peak_bytes();  // most that was resident so far

// What may still be allocated: the smaller of MemAvailable and what the memory cgroups (v1 and v2, all ancestors)
// leave. `root`: where /proc and /sys are looked for.
uint64_t available_memory_bytes(const std::string & root = "");

}  // namespace edgemoe
