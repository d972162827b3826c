// Files for tests, whose every byte is known from its offset.
#pragma once

#include <stdlib.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace edgemoe::test {

// The byte at `offset` of a pattern file: different for neighbours, blocks and misplaced blocks.
inline std::byte pattern_byte(uint64_t offset) {
    uint64_t mixed = (offset + 1) * 0x9E3779B97F4A7C15U;
    mixed ^= mixed >> 29;
    return static_cast<std::byte>(mixed >> 56);
}

// The number of bytes of `data` that agree with the pattern from `offset` on, before the first that does not.
inline size_t matching_bytes(const std::byte * data, size_t bytes, uint64_t offset) {
    size_t n = 0;
    while (n < bytes && data[n] == pattern_byte(offset + n)) {
        ++n;
    }
    return n;
}

// An empty directory (under TMPDIR, or /tmp), removed with what TemporaryFile put there.
class TemporaryDirectory {
public:
    TemporaryDirectory() {
        const char * parent = std::getenv("TMPDIR");
        path_ = std::string(parent != nullptr ? parent : "/tmp") + "/edgemoe-test-XXXXXX";
        if (::mkdtemp(path_.data()) == nullptr) {
            throw std::runtime_error("cannot create " + path_);
        }
    }
    ~TemporaryDirectory() { ::rmdir(path_.c_str()); }
    TemporaryDirectory(const TemporaryDirectory &) = delete;
    TemporaryDirectory & operator=(const TemporaryDirectory &) = delete;

    const std::string & path() const { return path_; }

private:
    std::string path_;
};

// A pattern file of the given size in a directory of its own; removed at the end.
class TemporaryFile {
public:
    explicit TemporaryFile(uint64_t size_bytes) : path_(directory_.path() + "/model.gguf") { write(path_, size_bytes); }
    ~TemporaryFile() { ::unlink(path_.c_str()); }
    TemporaryFile(const TemporaryFile &) = delete;
    TemporaryFile & operator=(const TemporaryFile &) = delete;

    const std::string & path() const { return path_; }
    const std::string & directory() const { return directory_.path(); }

    static void write(const std::string & path, uint64_t size_bytes) {
        std::vector<char> bytes(size_bytes);
        for (uint64_t offset = 0; offset < size_bytes; ++offset) {
            bytes[offset] = static_cast<char>(pattern_byte(offset));
        }
        std::ofstream file(path, std::ios::binary | std::ios::trunc);
        file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
        file.close();
        if (!file) {
            throw std::runtime_error("cannot write " + path);
        }
    }

private:
    TemporaryDirectory directory_;
    std::string path_;
};

}  // namespace edgemoe::test
