#include "storage/file_mapping.h"

#include "reader_testing.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

namespace edgemoe::test {
namespace {

std::unique_ptr<FileMapping> map_file(const std::shared_ptr<const File> & file) {
    Result<std::unique_ptr<FileMapping>> mapping = FileMapping::map(file);
    REQUIRE_MESSAGE(mapping.is_ok(), mapping.status().message());
    return std::move(mapping).value();
}

// Pages of [offset, offset + bytes) that are in memory.
size_t n_resident(const FileMapping & mapping, uint64_t offset, uint64_t bytes) {
    std::vector<unsigned char> pages((bytes + FileMapping::page_bytes() - 1) / FileMapping::page_bytes());
    REQUIRE(::mincore(mapping.data() + offset, static_cast<size_t>(bytes), pages.data()) == 0);
    return static_cast<size_t>(std::count_if(pages.begin(), pages.end(), [](auto page) { return (page & 1) != 0; }));
}

// What is not on the disk yet cannot be dropped.
void write_back(const std::string & path) {
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    REQUIRE(fd >= 0);
    CHECK(::fsync(fd) == 0);
    ::close(fd);
}

}  // namespace

TEST_CASE("a mapping has the file's bytes") {
    const TemporaryFile temporary(10'000);
    const auto mapping = map_file(open_file(temporary.path(), false));
    CHECK(matching_bytes(mapping->data(), 10'000, 0) == 10'000);
}

TEST_CASE("an empty file cannot be mapped, and the message names it") {
    const TemporaryFile temporary(0);
    const Status status = FileMapping::map(open_file(temporary.path(), false)).status();
    CHECK(status.code() == StatusCode::kIo);
    CHECK(status.message().find(temporary.path() + ": cannot be mapped: ") == 0);
}

TEST_CASE("dropped pages leave memory, and only they; a touch brings them back") {
    const uint64_t page = FileMapping::page_bytes();
    const TemporaryFile temporary(16 * page + 5);
    write_back(temporary.path());
    const auto mapping = map_file(open_file(temporary.path(), false));
    // What was written may lie in units of many pages, which only go as a whole; what faults read does not.
    mapping->drop(0, 17 * page);
    CHECK(matching_bytes(mapping->data(), 16 * page + 5, 0) == 16 * page + 5);
    mapping->drop(4 * page, 8 * page);
    if (n_resident(*mapping, 4 * page, 8 * page) != 0) {
        MESSAGE("skipped: this file system does not drop pages");
        return;
    }
    CHECK(n_resident(*mapping, 0, 4 * page) == 4);
    CHECK(n_resident(*mapping, 12 * page, 4 * page + 5) == 5);
    CHECK(matching_bytes(mapping->data() + 4 * page, 8 * page, 4 * page) == 8 * page);
    mapping->drop(16 * page, page);  // the last page has 5 bytes
    CHECK(n_resident(*mapping, 16 * page, 5) == 0);
}

}  // namespace edgemoe::test
