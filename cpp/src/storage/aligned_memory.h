// Anonymous memory straight from the kernel, page-aligned, zero-filled, resident only where it is touched.
#pragma once

#include "base/status.h"

#include <cstddef>

namespace edgemoe {

// Owns one mapping; movable. Not thread-safe as an object; the bytes are the caller's.
class AlignedMemory {
public:
    enum class Access {
        kReadWrite,
        kReserved,  // addresses only: a touch is a segmentation fault, and no memory or swap is accounted for
    };

    AlignedMemory() = default;
    ~AlignedMemory();
    AlignedMemory(AlignedMemory && other) noexcept;
    AlignedMemory & operator=(AlignedMemory && other) noexcept;
    AlignedMemory(const AlignedMemory &) = delete;
    AlignedMemory & operator=(const AlignedMemory &) = delete;

    // `bytes` is rounded up to whole pages. Where it is as large as a huge page, the memory begins as one does: a
    // direct read into one is a single segment for the disk instead of one a page. kOutOfBudget when the kernel
    // refuses.
    static Result<AlignedMemory> allocate(size_t bytes, Access access);

    std::byte * data() const { return data_; }
    size_t size_bytes() const { return size_bytes_; }

private:
    std::byte * data_ = nullptr;
    size_t size_bytes_ = 0;
};

}  // namespace edgemoe
