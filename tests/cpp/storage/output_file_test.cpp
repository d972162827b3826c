#include "storage/output_file.h"

#include "temporary_file.h"

#include <doctest/doctest.h>

#include <sys/resource.h>
#include <sys/stat.h>

#include <csignal>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <string>

namespace edgemoe::test {
namespace {

bool exists(const std::string & path) {
    struct stat info = {};
    return ::stat(path.c_str(), &info) == 0;
}

std::string content(const std::string & path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

void put(const std::string & path, const std::string & text) {
    std::ofstream(path, std::ios::binary) << text;
}

// A path in a folder of its own.
class Destination {
public:
    ~Destination() {
        std::remove(path().c_str());
        std::remove(partial().c_str());
    }
    std::string path() const { return folder_.path() + "/model.gguf"; }
    std::string partial() const { return path() + ".part"; }

private:
    TemporaryDirectory folder_;
};

// While it lives, this process cannot write behind `bytes` of any file.
class FileSizeLimit {
public:
    explicit FileSizeLimit(rlim_t bytes) : handler_(std::signal(SIGXFSZ, SIG_IGN)) {
        ::getrlimit(RLIMIT_FSIZE, &before_);
        const rlimit limit = {bytes, before_.rlim_max};
        REQUIRE(::setrlimit(RLIMIT_FSIZE, &limit) == 0);
    }
    ~FileSizeLimit() {
        ::setrlimit(RLIMIT_FSIZE, &before_);
        std::signal(SIGXFSZ, handler_);
    }
    FileSizeLimit(const FileSizeLimit &) = delete;
    FileSizeLimit & operator=(const FileSizeLimit &) = delete;

private:
    rlimit before_ = {};
    void (*handler_)(int);
};

}  // namespace

TEST_CASE("AFileHasItsNameOnlyOnceItIsCommitted") {
    const Destination destination;
    Result<std::unique_ptr<OutputFile>> file = OutputFile::create(destination.path(), 6);
    REQUIRE_MESSAGE(file.is_ok(), file.status().message());
    CHECK(file.value()->write(3, "def", 3).is_ok());
    CHECK(file.value()->write(0, "abc", 3).is_ok());
    CHECK_FALSE(exists(destination.path()));
    CHECK(content(file.value()->temporary_path()) == "abcdef");
    CHECK(file.value()->commit().is_ok());
    CHECK(content(destination.path()) == "abcdef");
    CHECK_FALSE(exists(destination.partial()));
}

TEST_CASE("AFileThatIsGivenUpLeavesNothingAndWhatWasThereStays") {
    const Destination destination;
    put(destination.path(), "older");
    {
        const Result<std::unique_ptr<OutputFile>> file = OutputFile::create(destination.path(), 6);
        REQUIRE(file.is_ok());
        CHECK(file.value()->write(0, "abc", 3).is_ok());
    }
    CHECK(content(destination.path()) == "older");
    CHECK_FALSE(exists(destination.partial()));
}

TEST_CASE("WhatAKilledProcessLeftIsTakenOver") {
    const Destination destination;
    put(destination.partial(), "left behind, and longer than the new one");
    Result<std::unique_ptr<OutputFile>> file = OutputFile::create(destination.path(), 3);
    REQUIRE(file.is_ok());
    CHECK(file.value()->write(0, "abc", 3).is_ok());
    CHECK(file.value()->commit().is_ok());
    CHECK(content(destination.path()) == "abc");
}

TEST_CASE("TwoWritersOfOneFileDoNotMeet") {
    const Destination destination;
    Result<std::unique_ptr<OutputFile>> first = OutputFile::create(destination.path(), 3);
    REQUIRE(first.is_ok());
    CHECK(first.value()->write(0, "abc", 3).is_ok());
    const Result<std::unique_ptr<OutputFile>> second = OutputFile::create(destination.path(), 9);
    REQUIRE_FALSE(second.is_ok());
    CHECK(second.status().message().find("another process") != std::string::npos);
    CHECK(first.value()->commit().is_ok());
    CHECK(content(destination.path()) == "abc");
}

TEST_CASE("AFullDiskIsToldBeforeAnythingIsWritten") {
    const Destination destination;
    const Result<std::unique_ptr<OutputFile>> file = OutputFile::create(destination.path(), uint64_t{1} << 60);
    REQUIRE_FALSE(file.is_ok());
    CHECK(file.status().code() == StatusCode::kIo);
    CHECK(file.status().message().find("needs 1099511627776 MiB of disk") != std::string::npos);
    CHECK_FALSE(exists(destination.partial()));
}

TEST_CASE("AFailedWriteNamesFileAndOffsetAndLeavesNothing") {
    const Destination destination;
    {
        const Result<std::unique_ptr<OutputFile>> file = OutputFile::create(destination.path(), 8192);
        REQUIRE(file.is_ok());
        const std::string block(4096, 'x');
        const FileSizeLimit limit(4096);
        CHECK(file.value()->write(0, block.data(), block.size()).is_ok());
        const Status status = file.value()->write(4096, block.data(), block.size());
        CHECK(status.code() == StatusCode::kIo);
        CHECK(status.message() == destination.partial() + ": writing at offset 4096: File too large");
    }
    CHECK_FALSE(exists(destination.partial()));
}

TEST_CASE("AFolderThatIsNotThereIsNamed") {
    const Destination destination;
    const Result<std::unique_ptr<OutputFile>> file = OutputFile::create(destination.path() + "/there.gguf", 3);
    REQUIRE_FALSE(file.is_ok());
    CHECK(file.status().code() == StatusCode::kNotFound);
    CHECK(file.status().message().find("folder") != std::string::npos);
}

TEST_CASE("WhatIsNoRegularFileIsNotReplaced") {
    const TemporaryDirectory folder;
    const Result<std::unique_ptr<OutputFile>> file = OutputFile::create(folder.path(), 3);
    REQUIRE_FALSE(file.is_ok());
    CHECK(file.status().code() == StatusCode::kInvalidArgument);
    CHECK_FALSE(exists(folder.path() + ".part"));
}

}  // namespace edgemoe::test
