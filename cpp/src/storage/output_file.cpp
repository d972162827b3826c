// Invariants: fd_ is open, and locked (flock), from create() to the destructor, so that two processes never write one
// temporary file; temporary_path_ names it until it is committed or removed.
#include "storage/output_file.h"

#include "storage/read_progress.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <cstdio>

namespace edgemoe {
namespace {

std::string folder_of(const std::string & path) {
    const size_t slash = path.rfind('/');
    return slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
}

std::string size_text(uint64_t bytes) {
    const uint64_t mib = (bytes + (1 << 20) - 1) >> 20;
    return std::to_string(mib) + " MiB";
}

Status failure(const std::string & path, const std::string & what, int error) {
    return Status(StatusCode::kIo, path + ": " + what + ": " + system_reason(error));
}

// True if `path` still names the open file: its last owner may have removed or renamed it while we waited for the lock.
bool still_names(const std::string & path, int fd) {
    struct stat named = {};
    struct stat opened = {};
    return ::stat(path.c_str(), &named) == 0 && ::fstat(fd, &opened) == 0 && named.st_ino == opened.st_ino &&
           named.st_dev == opened.st_dev;
}

Status open_locked(const std::string & path, int * fd) {
    for (;;) {
        *fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
        if (*fd < 0 && errno == EINTR) {
            continue;
        }
        if (*fd < 0) {
            return errno == ENOENT ? Status(StatusCode::kNotFound, path + ": its folder does not exist; make it first")
                                   : failure(path, "cannot be created", errno);
        }
        if (::flock(*fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
            return Status(StatusCode::kIo, path + ": another process is writing it; wait for that one or stop it");
        }
        if (still_names(path, *fd)) {
            return Status::ok();
        }
        ::close(*fd);
        *fd = -1;
    }
}

// Reserves `bytes` for the empty file, so that the disk cannot fill up while it is written.
Status reserve(const std::string & path, int fd, uint64_t bytes) {
    struct statvfs disk = {};
    const bool known = ::fstatvfs(fd, &disk) == 0;
    const uint64_t free_bytes = known ? static_cast<uint64_t>(disk.f_bavail) * disk.f_frsize : 0;
    const auto no_room = [&] {
        return Status(StatusCode::kIo, path + ": needs " + size_text(bytes) + " of disk, of which " + folder_of(path) +
                                           " has " + size_text(free_bytes) + "; make room or choose another folder");
    };
    if (known && free_bytes < bytes) {
        return no_room();
    }
    int result = 0;
    do {
        result = ::fallocate(fd, 0, 0, static_cast<off_t>(bytes));
    } while (result != 0 && errno == EINTR);
    if (result == 0) {
        return Status::ok();
    }
    if (errno == ENOSPC) {
        return no_room();
    }
    if (errno != EOPNOTSUPP && errno != ENOSYS) {
        return failure(path, "cannot be made " + size_text(bytes) + " large", errno);
    }
    return ::ftruncate(fd, static_cast<off_t>(bytes)) == 0
               ? Status::ok()
               : failure(path, "cannot be made " + size_text(bytes) + " large", errno);
}

}  // namespace

Result<std::unique_ptr<OutputFile>> OutputFile::create(const std::string & path, uint64_t size_bytes) {
    struct stat there = {};
    if (::stat(path.c_str(), &there) == 0 && !S_ISREG(there.st_mode)) {
        return Status(StatusCode::kInvalidArgument,
                      path + ": is no regular file, and is not replaced; give another name");
    }
    std::unique_ptr<OutputFile> file(new OutputFile());
    file->path_ = path;
    file->size_bytes_ = size_bytes;
    Status status = open_locked(path + ".part", &file->fd_);
    if (!status.is_ok()) {
        return status;
    }
    file->temporary_path_ = path + ".part";  // from here on the destructor removes it
    if (::ftruncate(file->fd_, 0) != 0) {
        return failure(file->temporary_path_, "cannot be emptied", errno);
    }
    status = size_bytes == 0 ? Status::ok() : reserve(file->temporary_path_, file->fd_, size_bytes);
    if (!status.is_ok()) {
        return status;
    }
    return file;
}

OutputFile::~OutputFile() {
    if (!committed_ && !temporary_path_.empty()) {
        ::unlink(temporary_path_.c_str());  // before the lock goes with the descriptor
    }
    if (fd_ >= 0) {
        ::close(fd_);
    }
}

Status OutputFile::write(uint64_t offset, const void * data, size_t bytes) const {
    assert(offset <= size_bytes_ && bytes <= size_bytes_ - offset);
    const auto * next = static_cast<const std::byte *>(data);
    while (bytes > 0) {
        const ssize_t n = ::pwrite(fd_, next, std::min(bytes, ReadProgress::kMaxCallBytes), static_cast<off_t>(offset));
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return failure(temporary_path_, "writing at offset " + std::to_string(offset), n < 0 ? errno : ENOSPC);
        }
        next += n;
        offset += static_cast<uint64_t>(n);
        bytes -= static_cast<size_t>(n);
    }
    return Status::ok();
}

Status OutputFile::commit() {
    if (::fsync(fd_) != 0) {
        return failure(temporary_path_, "cannot be made durable", errno);
    }
    if (::rename(temporary_path_.c_str(), path_.c_str()) != 0) {
        return failure(path_, "cannot take its name", errno);
    }
    committed_ = true;
    const int folder = ::open(folder_of(path_).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder >= 0) {
        static_cast<void>(::fsync(folder));  // not every file system can; the file itself is durable
        ::close(folder);
    }
    return Status::ok();
}

}  // namespace edgemoe
