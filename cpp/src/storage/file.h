// A read-only file, opened for direct I/O where the file system really grants it.
#pragma once

#include "base/status.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace edgemoe {

// Offsets, sizes and destinations of direct reads are multiples of this many bytes.
constexpr size_t kDirectAlignment = 4096;

// Immutable after open() and thread-safe: every read names its own offset.
class File {
public:
    // Opens `path`. With `want_direct` a second descriptor is opened with O_DIRECT and verified by a real
    // read of the first block, compared with an ordinary read (on Android's FUSE storage the flag is accepted and
    // then fails or is ignored). On failure of that probe the file works with ordinary reads and
    // direct_refusal() says why. Fails with kNotFound or kIo; the message names the file and the reason.
    static Result<std::shared_ptr<const File>> open(const std::string & path, bool want_direct);
    ~File();
    File(const File &) = delete;
    File & operator=(const File &) = delete;

    const std::string & path() const { return path_; }
    uint64_t size_bytes() const { return size_bytes_; }
    bool direct() const { return direct_fd_ >= 0; }
    const std::string & direct_refusal() const { return direct_refusal_; }  // empty when direct()

    // The descriptor for reads whose offset, size and destination are aligned to kDirectAlignment: the direct one where
    // there is one. And the descriptor for reads of any alignment, through the page cache. Borrowed: valid while the
    // File lives.
    int aligned_fd() const { return direct_fd_ >= 0 ? direct_fd_ : fd_; }
    int fd() const { return fd_; }

    // Reads exactly `bytes` bytes at `offset` into `destination`, of any alignment, through the page cache; blocks.
    // Fewer bytes are kFormat ("truncated"), an operating system error is kIo; both name file and offset.
    Status read(uint64_t offset, size_t bytes, void * destination) const;

    // kIo, when the file was resized or rewritten since it was opened. A file that took its name is another one: what
    // was opened stays. Does not block.
    Status check_unchanged() const;

    // Tells the kernel that the page cache's copy of the file is not needed (posix_fadvise DONTNEED). Best effort.
    void drop_page_cache() const;

private:
    File() = default;

    std::string path_;
    std::string direct_refusal_;
    uint64_t size_bytes_ = 0;
    int fd_ = -1;
    int direct_fd_ = -1;
    int64_t modified_ns_ = 0;
};

}  // namespace edgemoe
