// A file mapped read-only, whose pages are read and dropped on demand.
#pragma once

#include "base/status.h"
#include "storage/file.h"

#include <cstddef>
#include <cstdint>
#include <memory>

namespace edgemoe {

// Immutable and thread-safe. A touch beyond the end of a file that was cut after it was opened is a bus error:
// File::check_unchanged() finds out before.
class FileMapping {
public:
    // All of `file`, without read-ahead: faults read single pages, and make_mmap_reader() what is wanted. kIo when the
    // system refuses, which it does for an empty file.
    static Result<std::unique_ptr<FileMapping>> map(std::shared_ptr<const File> file);
    ~FileMapping();
    FileMapping(const FileMapping &) = delete;
    FileMapping & operator=(const FileMapping &) = delete;

    const File & file() const { return *file_; }
    // The file's first byte. Not const, because destinations of reads are not; a write is a segmentation fault.
    std::byte * data() const { return data_; }

    static uint64_t page_bytes();

    // Takes the pages out of this process and of the page cache, as far as nobody else uses them. They are read again
    // when touched. REQUIRES: both are multiples of page_bytes().
    void drop(uint64_t offset, uint64_t bytes) const;

private:
    FileMapping(std::shared_ptr<const File> file, std::byte * data) : file_(std::move(file)), data_(data) {}

    std::shared_ptr<const File> file_;
    std::byte * data_;
};

}  // namespace edgemoe
