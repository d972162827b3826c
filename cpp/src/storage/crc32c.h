// CRC-32C (Castagnoli, RFC 3720 B.4), by the processor's instruction where it has one. Pure functions, thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>

namespace edgemoe {

// The checksum of `bytes` bytes at `data`.
uint32_t crc32c(const void * data, size_t bytes);

// The same without the instruction: what machines use that have none.
uint32_t crc32c_portable(const void * data, size_t bytes);

// The checksum of A followed by B, from those of A and of B, which has `b_bytes` bytes. So the checksum of a whole is
// the exclusive or of crc32c_combine(part, 0, bytes behind the part) over its parts, in any order.
uint32_t crc32c_combine(uint32_t a, uint32_t b, uint64_t b_bytes);

}  // namespace edgemoe
