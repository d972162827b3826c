// Invariants: fd_ is open from open() to the destructor; direct_fd_ is open or -1, and -1 means that direct_refusal_
// gives the reason. No descriptor is ever seeked, so reads of several threads do not meet.
#include "storage/file.h"

#include "base/checked.h"
#include "storage/aligned_memory.h"
#include "storage/read_progress.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace edgemoe {
namespace {

static_assert(sizeof(off_t) == 8, "model files are larger than 2 GiB: compile with -D_FILE_OFFSET_BITS=64");

// An open descriptor until release().
class Descriptor {
public:
    explicit Descriptor(int fd) : fd_(fd) {}
    ~Descriptor() {
        if (fd_ >= 0) {
            ::close(fd_);
        }
    }
    Descriptor(const Descriptor &) = delete;
    Descriptor & operator=(const Descriptor &) = delete;

    int get() const { return fd_; }
    int release() { return std::exchange(fd_, -1); }

private:
    int fd_;
};

int open_retrying(const std::string & path, int flags) {
    int fd = -1;
    do {
        fd = ::open(path.c_str(), flags | O_RDONLY | O_CLOEXEC);
    } while (fd < 0 && errno == EINTR);
    return fd;
}

ssize_t pread_retrying(int fd, void * destination, size_t bytes, uint64_t offset) {
    ssize_t n = -1;
    do {
        n = ::pread(fd, destination, std::min(bytes, ReadProgress::kMaxCallBytes), static_cast<off_t>(offset));
    } while (n < 0 && errno == EINTR);
    return n;
}

int64_t modification_time_ns(const struct stat & info) {
    return static_cast<int64_t>(info.st_mtim.tv_sec) * 1'000'000'000 + info.st_mtim.tv_nsec;
}

Status open_failure(const std::string & path, const std::string & reason) {
    return Status(StatusCode::kIo, path + ": cannot be opened: " + reason);
}

// Why reads of `direct_fd` are not what direct reads should be, or "" when they are: the first block is read both ways.
std::string find_direct_refusal(int direct_fd, int fd, uint64_t size_bytes) {
    if (size_bytes == 0) {
        return "the file is empty, so that direct reads cannot be tried";
    }
    struct statfs file_system = {};
    if (::fstatfs(fd, &file_system) == 0 && file_system.f_type == TMPFS_MAGIC) {
        return "the file is on a tmpfs, which accepts O_DIRECT and ignores it";
    }
    Result<AlignedMemory> allocated = AlignedMemory::allocate(2 * kDirectAlignment, AlignedMemory::Access::kReadWrite);
    if (!allocated.is_ok()) {
        return allocated.status().message();
    }
    const AlignedMemory & memory = allocated.value();
    std::byte * direct_block = memory.data();
    std::byte * ordinary_block = memory.data() + kDirectAlignment;
    const ssize_t n_direct = pread_retrying(direct_fd, direct_block, kDirectAlignment, 0);
    if (n_direct < 0) {
        return "a direct read of the first block failed: " + system_reason(errno);
    }
    const ssize_t n_ordinary = pread_retrying(fd, ordinary_block, kDirectAlignment, 0);
    if (n_ordinary < 0) {
        return "an ordinary read of the first block failed: " + system_reason(errno);
    }
    if (n_direct != n_ordinary || std::memcmp(direct_block, ordinary_block, static_cast<size_t>(n_direct)) != 0) {
        return "a direct read of the first block gave other bytes than an ordinary one";
    }
    return "";
}

}  // namespace

Result<std::shared_ptr<const File>> File::open(const std::string & path, bool want_direct) {
    // Without O_NONBLOCK, opening a pipe would wait for its writer.
    Descriptor fd(open_retrying(path, O_NONBLOCK));
    if (fd.get() < 0) {
        if (errno == ENOENT) {
            return Status(StatusCode::kNotFound, path + ": no such file");
        }
        return open_failure(path, system_reason(errno));
    }
    struct stat info = {};
    if (::fstat(fd.get(), &info) != 0) {
        return open_failure(path, system_reason(errno));
    }
    if (S_ISDIR(info.st_mode)) {
        return open_failure(path, "is a directory");
    }
    if (!S_ISREG(info.st_mode)) {
        return open_failure(path, "is not a regular file");
    }
    // Left on, io_uring would give up with EAGAIN where a read has to wait for the disk.
    if (::fcntl(fd.get(), F_SETFL, 0) != 0) {
        return open_failure(path, system_reason(errno));
    }

    std::shared_ptr<File> file(new File());
    file->path_ = path;
    file->size_bytes_ = static_cast<uint64_t>(info.st_size);
    file->modified_ns_ = modification_time_ns(info);
    file->fd_ = fd.release();
    if (!want_direct) {
        file->direct_refusal_ = "direct reads were not asked for";
        return std::shared_ptr<const File>(std::move(file));
    }
    Descriptor direct_fd(open_retrying(path, O_DIRECT));
    struct stat direct_info = {};
    if (direct_fd.get() < 0) {
        file->direct_refusal_ = "opening with O_DIRECT failed: " + system_reason(errno);
    } else if (::fstat(direct_fd.get(), &direct_info) != 0 || direct_info.st_dev != info.st_dev ||
               direct_info.st_ino != info.st_ino) {
        return open_failure(path, "was replaced while it was being opened");
    } else {
        file->direct_refusal_ = find_direct_refusal(direct_fd.get(), file->fd_, file->size_bytes_);
        if (file->direct_refusal_.empty()) {
            file->direct_fd_ = direct_fd.release();
        }
    }
    return std::shared_ptr<const File>(std::move(file));
}

File::~File() {
    for (const int fd : {fd_, direct_fd_}) {
        if (fd >= 0) {
            ::close(fd);
        }
    }
}

Status File::read(uint64_t offset, size_t bytes, void * destination) const {
    uint64_t end = 0;
    if (!checked_add(offset, bytes, &end) || end > size_bytes_) {
        return read_failure(StatusCode::kFormat, *this, offset, bytes,
                            "truncated: the file has " + std::to_string(size_bytes_) + " bytes");
    }
    auto * position = static_cast<std::byte *>(destination);
    for (size_t done = 0; done < bytes;) {
        const ssize_t n = pread_retrying(fd_, position + done, bytes - done, offset + done);
        if (n < 0) {
            return read_failure(StatusCode::kIo, *this, offset, bytes, system_reason(errno));
        }
        if (n == 0) {
            return read_failure(StatusCode::kFormat, *this, offset, bytes,
                                "truncated since it was opened: only " + std::to_string(done) + " bytes were there");
        }
        done += static_cast<size_t>(n);
    }
    return Status::ok();
}

Status File::check_unchanged() const {
    const auto changed = [this](const std::string & how) {
        return Status(StatusCode::kIo, path_ + ": " + how + " since it was opened; open it again");
    };
    struct stat info = {};
    if (::fstat(fd_, &info) != 0) {
        return changed("became inaccessible (" + system_reason(errno) + ")");
    }
    if (static_cast<uint64_t>(info.st_size) != size_bytes_) {
        return changed("was resized from " + std::to_string(size_bytes_) + " to " + std::to_string(info.st_size) +
                       " bytes");
    }
    if (modification_time_ns(info) != modified_ns_) {
        return changed("was rewritten");
    }
    return Status::ok();
}

void File::drop_page_cache() const {
    static_cast<void>(::posix_fadvise(fd_, 0, 0, POSIX_FADV_DONTNEED));
}

}  // namespace edgemoe
