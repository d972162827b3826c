// Compares a matrix that is read with the checksum that its file keeps for it: once, then it is taken on trust. The
// matrix comes in pieces, in any order and on several threads.
#pragma once

#include "base/status.h"
#include "storage/expert_index.h"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>

namespace edgemoe {

// add() is thread-safe for different pieces.
class PartCheck {
public:
    // Reading begins, from nothing. REQUIRES: no add() of an earlier reading is running or will follow.
    void begin();

    // The matrix `part` has `data`, `bytes` bytes of it, from byte `first` on. With the last piece: kFormat if the
    // whole is not what was written, naming `path`. REQUIRES: each byte comes at most once after begin().
    Status add(const ExpertPart & part, const std::string & path, uint64_t first, const std::byte * data, size_t bytes);

private:
    std::atomic<uint32_t> checksum_{0};  // of what has come, as if the rest were absent
    std::atomic<uint64_t> bytes_{0};     // that have come
    std::atomic<bool> verified_{false};
};

}  // namespace edgemoe
