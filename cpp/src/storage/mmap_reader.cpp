// The engine whose destination is a mapping of the file: a read makes the mapping's pages resident and is over when
// they are. The whole range is asked for at once (WILLNEED), because a fault alone would read page by page.
#include "base/checked.h"
#include "storage/lane_reader.h"
#include "storage/read_progress.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>

namespace edgemoe {
namespace {

// Maps the pages in, reading what is not cached. False where the kernel cannot (before Linux 5.14), or where a touch
// would be a bus error.
bool populate(std::byte * begin, size_t bytes) {
#ifdef MADV_POPULATE_READ
    const auto page_bytes = static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
    const auto address = reinterpret_cast<uint64_t>(begin);
    const uint64_t aligned = align_down(address, page_bytes);
    int error = 0;
    do {
        error = ::madvise(reinterpret_cast<void *>(aligned), static_cast<size_t>(address - aligned) + bytes,
                          MADV_POPULATE_READ);
    } while (error != 0 && (errno == EINTR || errno == EAGAIN));
    return error == 0;
#else
    static_cast<void>(begin);
    static_cast<void>(bytes);
    return false;
#endif
}

// Reads the range into the page cache and throws the copy away: slower, but an error is an answer instead of a signal.
ReadCompletion read_into_cache(const ReadRequest & request, size_t bytes) {
    std::array<std::byte, size_t{32} << 10> scratch;
    ReadCompletion completion;
    completion.id = request.id;
    while (completion.bytes_read < bytes) {
        const ssize_t n =
            ::pread(request.file->fd(), scratch.data(), std::min(scratch.size(), bytes - completion.bytes_read),
                    static_cast<off_t>(request.offset + completion.bytes_read));
        if (n < 0 && (errno == EINTR || errno == EAGAIN)) {
            continue;
        }
        if (n < 0) {
            completion.status =
                read_failure(StatusCode::kIo, *request.file, request.offset, request.bytes, system_reason(errno));
            return completion;
        }
        if (n == 0) {
            return completion;  // the file was cut
        }
        completion.bytes_read += static_cast<size_t>(n);
    }
    return completion;
}

ReadCompletion make_resident(const ReadRequest & request) {
    const uint64_t left = request.file->size_bytes() - std::min(request.offset, request.file->size_bytes());
    const size_t bytes = static_cast<size_t>(std::min<uint64_t>(request.bytes, left));
    if (bytes == 0) {
        return {request.id, Status::ok(), 0};
    }
    static_cast<void>(::posix_fadvise(request.file->fd(), static_cast<off_t>(request.offset), static_cast<off_t>(bytes),
                                      POSIX_FADV_WILLNEED));
    if (populate(request.destination, bytes)) {
        return {request.id, Status::ok(), bytes};
    }
    return read_into_cache(request, bytes);
}

}  // namespace

std::unique_ptr<AsyncReader> make_mmap_reader(int n_lanes) {
    return make_lane_reader(n_lanes, "mmap", make_resident);
}

}  // namespace edgemoe
