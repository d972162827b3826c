#include "storage/direct_read.h"

#include "base/checked.h"
#include "storage/aligned_memory.h"

#include <unistd.h>
#include <algorithm>
#include <cerrno>
#include <cstring>

namespace edgemoe {

namespace {
constexpr size_t kBufferBytes = 4 << 20;
}

Status read_past_page_cache(const File & file, uint64_t offset, size_t bytes, void * destination) {
    // Small tensors (norms, scales) are not worth a direct read each.
    if (!file.direct() || bytes < 16 * kDirectAlignment) {
        return file.read(offset, bytes, destination);
    }
    Result<AlignedMemory> buffer = AlignedMemory::allocate(kBufferBytes, AlignedMemory::Access::kReadWrite);
    if (!buffer.is_ok()) {
        return buffer.status();
    }
    auto * out = static_cast<std::byte *>(destination);
    while (bytes > 0) {
        const uint64_t aligned = align_down(offset, kDirectAlignment);
        const auto skip = static_cast<size_t>(offset - aligned);
        const size_t want = std::min<size_t>(kBufferBytes, align_up(skip + bytes, kDirectAlignment));
        const ssize_t got = pread(file.aligned_fd(), buffer.value().data(), want, static_cast<off_t>(aligned));
        if (got < 0 && (errno == EINTR || errno == EAGAIN)) {
            continue;
        }
        if (got <= static_cast<ssize_t>(skip)) {
            return file.read(offset, bytes, out);  // it says what is wrong, or succeeds where direct I/O does not
        }
        const size_t n = std::min<size_t>(bytes, static_cast<size_t>(got) - skip);
        std::memcpy(out, buffer.value().data() + skip, n);
        out += n;
        offset += n;
        bytes -= n;
    }
    return Status::ok();
}

}  // namespace edgemoe
