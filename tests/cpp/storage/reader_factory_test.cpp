#include "storage/reader_factory.h"

#include "reader_testing.h"

#include <doctest/doctest.h>

#include <string>

namespace edgemoe::test {
namespace {

ReaderNeeds needs(const std::string & engine) {
    ReaderNeeds some;
    some.engine = engine;
    some.n_lanes = 2;
    some.read_bytes = 4 * kDirectAlignment;
    return some;
}

bool contains(const std::string & text, const std::string & part) {
    return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("an unknown engine is an invalid argument, and the message lists the known ones") {
    const Status status = make_reader(needs("floppy")).status();
    CHECK(status.code() == StatusCode::kInvalidArgument);
    CHECK(contains(status.message(), "'floppy'"));
    CHECK(contains(status.message(), "auto, uring, threads or mmap"));
}

TEST_CASE("no lanes are an invalid argument") {
    for (const char * engine : {"auto", "uring", "threads", "mmap"}) {
        ReaderNeeds none = needs(engine);
        none.n_lanes = 0;
        CHECK(make_reader(none).status().code() == StatusCode::kInvalidArgument);
    }
}

TEST_CASE("threads and mmap are used when they are asked for") {
    for (const std::string engine : {"threads", "mmap"}) {
        const Result<ReaderChoice> choice = make_reader(needs(engine));
        REQUIRE(choice.is_ok());
        CHECK(choice.value().reader->name() == engine);
        CHECK(contains(choice.value().reason, engine));
        CHECK(contains(choice.value().reason, "asked for"));
        CHECK(choice.value().in_place == (engine == "mmap"));
    }
}

TEST_CASE("uring is used when it is asked for, or its refusal is the error") {
    const Result<ReaderChoice> choice = make_reader(needs("uring"));
    const Result<std::unique_ptr<AsyncReader>> ring = make_io_uring_reader(2);
    REQUIRE(choice.is_ok() == ring.is_ok());
    if (ring.is_ok()) {
        CHECK(std::string(choice.value().reader->name()) == "uring");
        CHECK(choice.value().reason == "uring was asked for");
        CHECK_FALSE(choice.value().in_place);
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
    ReaderNeeds some = needs("auto");
    some.files = {file};
    if (other_file->direct()) {
        some.files.insert(some.files.begin(), other_file);
    }
    const Result<ReaderChoice> choice = make_reader(some);
    REQUIRE(choice.is_ok());
    CHECK(std::string(choice.value().reader->name()) == "threads");
    CHECK(contains(choice.value().reason, file->path()));
    CHECK(contains(choice.value().reason, file->direct_refusal()));
}

TEST_CASE("auto maps files where it may and nearly all experts stay") {
    const TemporaryFile temporary(kDirectAlignment);
    ReaderNeeds some = needs("auto");
    some.files = {open_file(temporary.path(), false)};
    some.may_map = true;
    some.kept_share = 0.95;
    const Result<ReaderChoice> choice = make_reader(some);
    REQUIRE(choice.is_ok());
    CHECK(choice.value().in_place);
    CHECK(contains(choice.value().reason, "mmap, because 95% of the experts fit"));
    some.kept_share = 0.5;
    CHECK_FALSE(make_reader(some).value().in_place);
    some.kept_share = 1;
    some.may_map = false;
    CHECK_FALSE(make_reader(some).value().in_place);
}

TEST_CASE("auto measures a ring against threads on a file that is large enough, and says what it found") {
    for (const uint64_t blocks : {1, 512}) {
        CAPTURE(blocks);
        const TemporaryFile temporary(blocks * kDirectAlignment);
        ReaderNeeds some = needs("auto");
        some.files = {open_file(temporary.path(), true)};
        if (!some.files[0]->direct()) {
            MESSAGE("skipped: " << some.files[0]->direct_refusal());
            return;
        }
        const Result<ReaderChoice> choice = make_reader(some);
        REQUIRE(choice.is_ok());
        const std::string & reason = choice.value().reason;
        const Result<std::unique_ptr<AsyncReader>> ring = make_io_uring_reader(2);
        if (!ring.is_ok()) {
            CHECK(contains(reason, ring.status().message()));
            continue;
        }
        CHECK(contains(reason, choice.value().reader->name()));
        CHECK(contains(reason, blocks == 1 ? "a ring works here" : "reads of 16 KiB came at "));
        CHECK(contains(reason, "GB/s") == (blocks > 1));
    }
}

}  // namespace edgemoe::test
