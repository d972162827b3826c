#include "storage/file.h"

#include "reader_testing.h"
#include "temporary_file.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <limits>
#include <string>
#include <vector>

namespace edgemoe::test {
namespace {

bool contains(const std::string & text, const std::string & part) {
    return text.find(part) != std::string::npos;
}

// Sets the time of the last modification, so that a test need not wait for the clock.
void set_modification_time(const std::string & path, time_t seconds) {
    const timespec times[2] = {{seconds, 0}, {seconds, 0}};
    REQUIRE(::utimensat(AT_FDCWD, path.c_str(), times, 0) == 0);
}

}  // namespace

TEST_CASE("a file that does not exist is not found, and the message names it") {
    const TemporaryDirectory directory;
    const Status status = File::open(directory.path() + "/absent.gguf", true).status();
    CHECK(status.code() == StatusCode::kNotFound);
    CHECK(contains(status.message(), "absent.gguf"));
}

TEST_CASE("a directory is refused as a directory") {
    const TemporaryDirectory directory;
    const Status status = File::open(directory.path(), true).status();
    CHECK(status.code() == StatusCode::kIo);
    CHECK(contains(status.message(), directory.path()));
    CHECK(contains(status.message(), "is a directory"));
}

TEST_CASE("a pipe is refused at once, without waiting for its writer") {
    const TemporaryDirectory directory;
    const std::string path = directory.path() + "/pipe";
    REQUIRE(::mkfifo(path.c_str(), 0600) == 0);
    const Status status = File::open(path, false).status();
    ::unlink(path.c_str());
    CHECK(status.code() == StatusCode::kIo);
    CHECK(contains(status.message(), "not a regular file"));
}

TEST_CASE("a file that may not be read is an I/O error with the system's reason") {
    if (::geteuid() == 0) {
        MESSAGE("skipped: root may read everything");
        return;
    }
    const TemporaryFile temporary(10);
    REQUIRE(::chmod(temporary.path().c_str(), 0) == 0);
    const Status status = File::open(temporary.path(), false).status();
    CHECK(status.code() == StatusCode::kIo);
    CHECK(contains(status.message(), "Permission denied"));
}

TEST_CASE("a path through a file is an I/O error with the system's reason") {
    const TemporaryFile temporary(10);
    const Status status = File::open(temporary.path() + "/model.gguf", false).status();
    CHECK(status.code() == StatusCode::kIo);
    CHECK(contains(status.message(), "Not a directory"));
}

TEST_CASE("an open file knows its path and size, and either is direct or says why not") {
    const TemporaryFile temporary(3 * kDirectAlignment + 17);
    for (const bool want_direct : {false, true}) {
        const auto file = open_file(temporary.path(), want_direct);
        CHECK(file->path() == temporary.path());
        CHECK(file->size_bytes() == 3 * kDirectAlignment + 17);
        CHECK(file->direct() == file->direct_refusal().empty());
        CHECK((file->aligned_fd() != file->fd()) == file->direct());
    }
    CHECK_FALSE(open_file(temporary.path(), false)->direct());
}

TEST_CASE("neither descriptor is left in non-blocking mode or open across exec") {
    const TemporaryFile temporary(kDirectAlignment);
    const auto file = open_file(temporary.path(), true);
    for (const int fd : {file->fd(), file->aligned_fd()}) {
        CHECK((::fcntl(fd, F_GETFL) & O_NONBLOCK) == 0);
        CHECK((::fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
    }
}

TEST_CASE("an empty file opens, but not for direct reads") {
    const TemporaryFile temporary(0);
    const auto file = open_file(temporary.path(), true);
    CHECK(file->size_bytes() == 0);
    CHECK_FALSE(file->direct());
    CHECK(contains(file->direct_refusal(), "empty"));
    CHECK(file->read(0, 0, nullptr).is_ok());
}

TEST_CASE("a read of any alignment gives exactly the bytes that were asked for") {
    const TemporaryFile temporary(10'000);
    const auto file = open_file(temporary.path(), true);
    std::vector<std::byte> bytes(4'999, std::byte{0});
    REQUIRE(file->read(4'111, 4'998, bytes.data()).is_ok());
    CHECK(matching_bytes(bytes.data(), 4'998, 4'111) == 4'998);
    CHECK(bytes.back() == std::byte{0});
    CHECK(file->read(10'000, 0, bytes.data()).is_ok());
}

TEST_CASE("a read past the end is a truncated file, and the message names file, size and offset") {
    const TemporaryFile temporary(100);
    const auto file = open_file(temporary.path(), false);
    std::byte bytes[64];
    const Status status = file->read(50, 51, bytes);
    CHECK(status.code() == StatusCode::kFormat);
    CHECK(status.message() == temporary.path() + ": read of 51 bytes at offset 50: truncated: the file has 100 bytes");
}

TEST_CASE("a read whose end does not fit 64 bits is a truncated file") {
    const TemporaryFile temporary(100);
    const auto file = open_file(temporary.path(), false);
    std::byte bytes[64];
    const uint64_t huge = std::numeric_limits<uint64_t>::max();
    CHECK(file->read(huge, 64, bytes).code() == StatusCode::kFormat);
    CHECK(file->read(huge - 63, 64, bytes).code() == StatusCode::kFormat);
    CHECK(file->read(50, std::numeric_limits<size_t>::max(), bytes).code() == StatusCode::kFormat);
}

TEST_CASE("a read from a file that was cut after opening is a truncated file") {
    const TemporaryFile temporary(100);
    const auto file = open_file(temporary.path(), false);
    REQUIRE(::truncate(temporary.path().c_str(), 60) == 0);
    std::byte bytes[64];
    const Status status = file->read(50, 20, bytes);
    CHECK(status.code() == StatusCode::kFormat);
    CHECK(contains(status.message(), "truncated"));
}

TEST_CASE("an error of the system while reading is an I/O error with its reason") {
    const TemporaryFile temporary(100);
    const auto file = open_file(temporary.path(), false);
    const AlignedMemory forbidden = allocate(kDirectAlignment, AlignedMemory::Access::kReserved);
    const Status status = file->read(8, 16, forbidden.data());
    CHECK(status.code() == StatusCode::kIo);
    CHECK(status.message() == temporary.path() + ": read of 16 bytes at offset 8: Bad address");
}

TEST_CASE("an untouched file is unchanged") {
    const TemporaryFile temporary(100);
    const auto file = open_file(temporary.path(), true);
    CHECK(file->check_unchanged().is_ok());
    file->drop_page_cache();
    CHECK(file->check_unchanged().is_ok());
}

TEST_CASE("a file that was resized or rewritten is noticed, and the message says which") {
    const TemporaryFile temporary(100);
    const std::string & path = temporary.path();
    set_modification_time(path, 1'000'000);
    const auto file = open_file(path, false);
    std::string expected;
    SUBCASE("resized") {
        REQUIRE(::truncate(path.c_str(), 99) == 0);
        expected = "was resized from 100 to 99 bytes";
    }
    SUBCASE("rewritten") {
        TemporaryFile::write(path, 100);
        expected = "was rewritten";
    }
    const Status status = file->check_unchanged();
    CHECK(status.code() == StatusCode::kIo);
    CHECK(contains(status.message(), path));
    CHECK_MESSAGE(contains(status.message(), expected), status.message());
}

TEST_CASE("a file whose name leads elsewhere or nowhere is still the one that was opened") {
    const TemporaryFile temporary(100);
    const auto file = open_file(temporary.path(), false);
    SUBCASE("replaced") {
        TemporaryFile::write(temporary.path() + ".new", 50);
        REQUIRE(std::rename((temporary.path() + ".new").c_str(), temporary.path().c_str()) == 0);
    }
    SUBCASE("removed") {
        REQUIRE(::unlink(temporary.path().c_str()) == 0);
    }
    CHECK(file->check_unchanged().is_ok());
}

}  // namespace edgemoe::test
