// The contract of async_reader.h for reads in place, whose destinations only they accept.
#include "reader_testing.h"
#include "storage/async_reader.h"
#include "storage/file_mapping.h"

#include <doctest/doctest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace edgemoe::test {
namespace {

constexpr size_t kReadBytes = 4 * kDirectAlignment;

struct Fixture {
    explicit Fixture(uint64_t size_bytes) : temporary(size_bytes) {
        Result<std::unique_ptr<FileMapping>> made = FileMapping::map(file);
        REQUIRE_MESSAGE(made.is_ok(), made.status().message());
        mapping = std::move(made).value();
    }

    TemporaryFile temporary;
    std::shared_ptr<const File> file = open_file(temporary.path(), false);
    std::unique_ptr<FileMapping> mapping;
    std::unique_ptr<AsyncReader> reader = make_mmap_reader(3);
};

std::vector<ReadCompletion> sorted_by_id(std::vector<ReadCompletion> completions) {
    std::sort(completions.begin(), completions.end(),
              [](const ReadCompletion & a, const ReadCompletion & b) { return a.id < b.id; });
    return completions;
}

}  // namespace

TEST_CASE("a read in place completes once, when its pages are resident") {
    constexpr size_t n = 16;
    Fixture fixture(n * kReadBytes);
    fixture.mapping->drop(0, n * kReadBytes);
    fixture.reader->submit(consecutive_reads(*fixture.file, fixture.mapping->data(), n, kReadBytes));
    const std::vector<ReadCompletion> completions = sorted_by_id(wait_for_all(fixture.reader.get()));
    REQUIRE(completions.size() == n);
    for (size_t i = 0; i < n; ++i) {
        CHECK(completions[i].id == i);
        CHECK_MESSAGE(completions[i].status.is_ok(), completions[i].status.message());
        CHECK(completions[i].bytes_read == kReadBytes);
    }
    std::vector<unsigned char> pages(n * kReadBytes / FileMapping::page_bytes());
    REQUIRE(::mincore(fixture.mapping->data(), n * kReadBytes, pages.data()) == 0);
    CHECK(std::all_of(pages.begin(), pages.end(), [](auto page) { return (page & 1) != 0; }));
    CHECK(matching_bytes(fixture.mapping->data(), n * kReadBytes, 0) == n * kReadBytes);
    CHECK(std::string(fixture.reader->name()) == "mmap");
}

TEST_CASE("a read in place past the end of the file gives what there is") {
    Fixture fixture(kReadBytes + 77);
    fixture.reader->submit(consecutive_reads(*fixture.file, fixture.mapping->data(), 3, kReadBytes));
    const std::vector<ReadCompletion> completions = sorted_by_id(wait_for_all(fixture.reader.get()));
    REQUIRE(completions.size() == 3);
    CHECK(completions[0].bytes_read == kReadBytes);
    CHECK(completions[1].bytes_read == 77);
    CHECK(completions[2].bytes_read == 0);
    CHECK(completions[2].status.is_ok());
}

TEST_CASE("a file that was cut after it was mapped is a short read, not a signal") {
    Fixture fixture(4 * kReadBytes);
    REQUIRE(::truncate(fixture.temporary.path().c_str(), 2 * kReadBytes + 10) == 0);
    fixture.reader->submit(consecutive_reads(*fixture.file, fixture.mapping->data(), 4, kReadBytes));
    const std::vector<ReadCompletion> completions = sorted_by_id(wait_for_all(fixture.reader.get()));
    REQUIRE(completions.size() == 4);
    CHECK(completions[1].bytes_read == kReadBytes);
    CHECK(completions[2].bytes_read < kReadBytes);
    CHECK(completions[3].bytes_read == 0);
    for (const ReadCompletion & completion : completions) {
        CHECK(completion.status.is_ok());
    }
    CHECK(fixture.file->check_unchanged().code() == StatusCode::kIo);
}

}  // namespace edgemoe::test
