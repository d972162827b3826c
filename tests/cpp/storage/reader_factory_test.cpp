#include "storage/reader_factory.h"

#include "reader_testing.h"

#include <doctest/doctest.h>

#include <string>

namespace edgemoe::test {
namespace {

bool contains(const std::string & text, const std::string & part) {
    return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("an unknown engine is an invalid argument, and the message lists the known ones") {
    const Status status = make_reader("mmap", {}, 4).status();
    CHECK(status.code() == StatusCode::kInvalidArgument);
    CHECK(contains(status.message(), "'mmap'"));
    CHECK(contains(status.message(), "auto, io_uring or threads"));
}

TEST_CASE("no lanes are an invalid argument") {
    for (const char * engine : {"auto", "io_uring", "threads"}) {
        CHECK(make_reader(engine, {}, 0).status().code() == StatusCode::kInvalidArgument);
    }
}

TEST_CASE("threads are used when they are asked for") {
    const Result<ReaderChoice> choice = make_reader("threads", {}, 2);
    REQUIRE(choice.is_ok());
    CHECK(std::string(choice.value().reader->name()) == "threads");
    CHECK(choice.value().reason == "threads were asked for");
}

TEST_CASE("io_uring is used when it is asked for, or its refusal is the error") {
    const Result<ReaderChoice> choice = make_reader("io_uring", {}, 2);
    const Result<std::unique_ptr<AsyncReader>> ring = make_io_uring_reader(2);
    REQUIRE(choice.is_ok() == ring.is_ok());
    if (ring.is_ok()) {
        CHECK(std::string(choice.value().reader->name()) == "io_uring");
        CHECK(choice.value().reason == "io_uring was asked for");
    } else {
        CHECK(choice.status().code() == StatusCode::kUnsupported);
        CHECK(choice.status().message() == ring.status().message());
    }
}

TEST_CASE("auto reads files that are not direct with threads, and says which file and why") {
    const TemporaryFile temporary(kDirectAlignment);
    const TemporaryFile other(kDirectAlignment);
    const auto file = open_file(temporary.path(), false);
    const auto other_file = open_file(other.path(), true);
    const Result<ReaderChoice> choice =
        other_file->direct() ? make_reader("auto", {other_file, file}, 2) : make_reader("auto", {file}, 2);
    REQUIRE(choice.is_ok());
    CHECK(std::string(choice.value().reader->name()) == "threads");
    CHECK(contains(choice.value().reason, file->path()));
    CHECK(contains(choice.value().reason, file->direct_refusal()));
}

TEST_CASE("auto reads direct files through a ring where one works, and otherwise keeps the ring's refusal") {
    const TemporaryFile temporary(kDirectAlignment);
    const auto file = open_file(temporary.path(), true);
    if (!file->direct()) {
        MESSAGE("skipped: " << file->direct_refusal());
        return;
    }
    const Result<ReaderChoice> choice = make_reader("auto", {file}, 2);
    REQUIRE(choice.is_ok());
    const Result<std::unique_ptr<AsyncReader>> ring = make_io_uring_reader(2);
    CHECK(std::string(choice.value().reader->name()) == (ring.is_ok() ? "io_uring" : "threads"));
    if (!ring.is_ok()) {
        CHECK(contains(choice.value().reason, ring.status().message()));
    }
}

}  // namespace edgemoe::test
