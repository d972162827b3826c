// Invariant: data_ is a mapping of file_->size_bytes() bytes.
#include "storage/file_mapping.h"

#include "storage/read_progress.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace edgemoe {

Result<std::unique_ptr<FileMapping>> FileMapping::map(std::shared_ptr<const File> file) {
    const auto bytes = static_cast<size_t>(file->size_bytes());
    void * data = ::mmap(nullptr, bytes, PROT_READ, MAP_SHARED, file->fd(), 0);
    if (data == MAP_FAILED) {
        return Status(StatusCode::kIo, file->path() + ": cannot be mapped: " + system_reason(errno));
    }
    static_cast<void>(::madvise(data, bytes, MADV_RANDOM));
    return std::unique_ptr<FileMapping>(new FileMapping(std::move(file), static_cast<std::byte *>(data)));
}

FileMapping::~FileMapping() {
    ::munmap(data_, static_cast<size_t>(file_->size_bytes()));
}

uint64_t FileMapping::page_bytes() {
    return static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
}

void FileMapping::drop(uint64_t offset, uint64_t bytes) const {
    const uint64_t mapped = std::min(bytes, file_->size_bytes() - std::min(offset, file_->size_bytes()));
    if (mapped > 0) {
        // The page cache keeps what is mapped anywhere, so this process lets go first.
        static_cast<void>(::madvise(data_ + offset, static_cast<size_t>(mapped), MADV_DONTNEED));
        static_cast<void>(
            ::posix_fadvise(file_->fd(), static_cast<off_t>(offset), static_cast<off_t>(bytes), POSIX_FADV_DONTNEED));
    }
}

}  // namespace edgemoe
