// How one read goes on after each answer of the kernel: shared by the engines, so that all retry and report alike.
// Not thread-safe: one thread at a time.
#pragma once

#include "base/status.h"
#include "storage/async_reader.h"
#include "storage/file.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <string>
#include <system_error>
#include <utility>

namespace edgemoe {

// The operating system's words for an errno value. Thread-safe, unlike strerror().
inline std::string system_reason(int error) {
    return std::generic_category().message(error);
}

// "path: read of N bytes at offset M: reason"
inline Status read_failure(StatusCode code, const File & file, uint64_t offset, size_t bytes,
                           const std::string & reason) {
    return Status(code, file.path() + ": read of " + std::to_string(bytes) + " bytes at offset " +
                            std::to_string(offset) + ": " + reason);
}

class ReadProgress {
public:
    // More than the kernel transfers in one call would be a short read anyway; io_uring counts in 32 bits.
    static constexpr size_t kMaxCallBytes = size_t{1} << 30;

    ReadProgress() = default;
    explicit ReadProgress(const ReadRequest & request) : request_(request) {}

    const ReadRequest & request() const { return request_; }

    // The next call to make: read `bytes()` bytes at `offset()` of `fd()` into `destination()`.
    int fd() const { return ordinary_ ? request_.file->fd() : request_.file->aligned_fd(); }
    uint64_t offset() const { return request_.offset + bytes_done_; }
    size_t bytes() const { return std::min(request_.bytes - bytes_done_, kMaxCallBytes); }
    std::byte * destination() const { return request_.destination + bytes_done_; }

    // True after the kernel declined to start the read at once: the next call should be one that may block.
    bool should_block() const { return should_block_; }

    // Takes the answer to that call: the number of bytes read (0 at the end of the file), or a negative errno value.
    // Returns true when the read is finished and completion() tells how; false when there is a next call to make.
    bool account(int64_t answer) {
        if (answer == -EINTR || answer == -EAGAIN || answer == -ECANCELED) {
            // ECANCELED: a thread that had submitted to a ring exited, and the kernel dropped its queued work.
            should_block_ = true;
            return false;
        }
        if (answer == -EINVAL && !ordinary_ && request_.file->direct()) {
            ordinary_ = true;  // the file system changed its mind about O_DIRECT, for this range or altogether
            return false;
        }
        if (answer < 0) {
            error_ = static_cast<int>(-answer);
            return true;
        }
        bytes_done_ += static_cast<size_t>(answer);
        if (bytes_done_ % kDirectAlignment != 0) {
            ordinary_ = true;  // what is left is no longer aligned
        }
        return answer == 0 || bytes_done_ == request_.bytes || offset() >= request_.file->size_bytes();
    }

    // REQUIRES: account() returned true.
    ReadCompletion completion() const {
        Status status;
        if (error_ != 0) {
            status =
                read_failure(StatusCode::kIo, *request_.file, request_.offset, request_.bytes, system_reason(error_));
        }
        return {request_.id, std::move(status), bytes_done_};
    }

private:
    ReadRequest request_;
    size_t bytes_done_ = 0;
    int error_ = 0;
    bool ordinary_ = false;  // through the page cache from now on
    bool should_block_ = false;
};

// Makes all calls that `progress` still needs, with pread; blocks.
inline ReadCompletion finish_blocking(ReadProgress progress) {
    bool finished = false;
    while (!finished) {
        const ssize_t n =
            ::pread(progress.fd(), progress.destination(), progress.bytes(), static_cast<off_t>(progress.offset()));
        finished = progress.account(n < 0 ? -static_cast<int64_t>(errno) : n);
    }
    return progress.completion();
}

// The completion of a request that was cancelled before it was started.
inline ReadCompletion cancelled_completion(const ReadRequest & request) {
    return {request.id, read_failure(StatusCode::kCancelled, *request.file, request.offset, request.bytes, "cancelled"),
            0};
}

}  // namespace edgemoe
