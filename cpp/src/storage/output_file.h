// A file that is written in any order and has its final name only when it is whole.
#pragma once

#include "base/status.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace edgemoe {

// Destroyed before commit() has succeeded, it leaves no file behind; a process that is killed leaves the temporary one,
// which the next create() for the same path takes over. write() is thread-safe, the rest is for one thread.
class OutputFile {
public:
    // Makes `path`.part in the same folder, at its full size: disk space is asked for first and reserved. Whatever is
    // at `path` stays until commit(). kNotFound: no such folder. kInvalidArgument: `path` is there and no regular file.
    // kIo: no room (the message has both figures), no permission, or another process is writing it.
    static Result<std::unique_ptr<OutputFile>> create(const std::string & path, uint64_t size_bytes);
    ~OutputFile();
    OutputFile(const OutputFile &) = delete;
    OutputFile & operator=(const OutputFile &) = delete;

    const std::string & path() const { return path_; }
    const std::string & temporary_path() const { return temporary_path_; }
    uint64_t size_bytes() const { return size_bytes_; }

    // Writes `bytes` bytes at `offset`. REQUIRES: they end within size_bytes(). kIo, naming file, offset and reason.
    Status write(uint64_t offset, const void * data, size_t bytes) const;

    // Makes what was written durable, gives the file its name, replacing what had it, and makes the name durable.
    Status commit();

private:
    OutputFile() = default;

    std::string path_;
    std::string temporary_path_;
    uint64_t size_bytes_ = 0;
    int fd_ = -1;
    bool committed_ = false;
};

}  // namespace edgemoe
