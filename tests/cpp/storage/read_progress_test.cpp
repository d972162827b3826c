#include "storage/read_progress.h"

#include "reader_testing.h"

#include <doctest/doctest.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>

namespace edgemoe::test {
namespace {

struct Fixture {
    ReadRequest request(size_t bytes) const {
        return {5, file.get(), kDirectAlignment, bytes, memory.data(), ReadPriority::kDemand};
    }

    TemporaryFile temporary{4 * kDirectAlignment};
    std::shared_ptr<const File> file = open_file(temporary.path(), true);
    AlignedMemory memory = allocate(4 * kDirectAlignment);
};

}  // namespace

TEST_CASE_FIXTURE(Fixture, "a read that gives all bytes is finished") {
    ReadProgress progress(request(2 * kDirectAlignment));
    CHECK(progress.fd() == file->aligned_fd());
    CHECK(progress.offset() == kDirectAlignment);
    CHECK(progress.bytes() == 2 * kDirectAlignment);
    CHECK(progress.account(2 * kDirectAlignment));
    const ReadCompletion completion = progress.completion();
    CHECK(completion.id == 5);
    CHECK(completion.status.is_ok());
    CHECK(completion.bytes_read == 2 * kDirectAlignment);
}

TEST_CASE_FIXTURE(Fixture, "a short read goes on behind what it gave") {
    ReadProgress progress(request(2 * kDirectAlignment));
    CHECK_FALSE(progress.account(kDirectAlignment));
    CHECK(progress.offset() == 2 * kDirectAlignment);
    CHECK(progress.bytes() == kDirectAlignment);
    CHECK(progress.destination() == memory.data() + kDirectAlignment);
    CHECK(progress.fd() == file->aligned_fd());
    CHECK(progress.account(kDirectAlignment));
    CHECK(progress.completion().bytes_read == 2 * kDirectAlignment);
}

TEST_CASE_FIXTURE(Fixture, "a short read that ends unaligned goes on through the page cache") {
    ReadProgress progress(request(2 * kDirectAlignment));
    CHECK_FALSE(progress.account(1'000));
    CHECK(progress.offset() == kDirectAlignment + 1'000);
    CHECK(progress.fd() == file->fd());
}

TEST_CASE_FIXTURE(Fixture, "an interrupted, postponed or dropped call is made again, and may block") {
    for (const int error : {EINTR, EAGAIN, ECANCELED}) {
        ReadProgress progress(request(kDirectAlignment));
        CHECK_FALSE(progress.should_block());
        CHECK_FALSE(progress.account(-error));
        CHECK(progress.should_block());
        CHECK(progress.bytes() == kDirectAlignment);
        CHECK(progress.account(kDirectAlignment));
        CHECK(progress.completion().status.is_ok());
    }
}

TEST_CASE_FIXTURE(Fixture, "a direct read that is suddenly invalid is made through the page cache") {
    if (!file->direct()) {
        MESSAGE("skipped: " << file->direct_refusal());
        return;
    }
    ReadProgress progress(request(kDirectAlignment));
    CHECK_FALSE(progress.account(-EINVAL));
    CHECK(progress.fd() == file->fd());
    CHECK(progress.account(-EINVAL));
    CHECK(progress.completion().status.code() == StatusCode::kIo);
}

TEST_CASE_FIXTURE(Fixture, "an error finishes the read and is named with file, size and offset") {
    ReadProgress progress(request(2 * kDirectAlignment));
    CHECK_FALSE(progress.account(kDirectAlignment));
    CHECK(progress.account(-EIO));
    const ReadCompletion completion = progress.completion();
    CHECK(completion.status.code() == StatusCode::kIo);
    CHECK(completion.status.message() == temporary.path() + ": read of 8192 bytes at offset 4096: Input/output error");
    CHECK(completion.bytes_read == kDirectAlignment);
}

TEST_CASE_FIXTURE(Fixture, "the end of the file finishes a read with fewer bytes and an ok status") {
    ReadProgress progress(request(4 * kDirectAlignment));
    SUBCASE("known from the size of the file") {
        CHECK(progress.account(3 * kDirectAlignment));
    }
    SUBCASE("found out, because the file was cut") {
        CHECK_FALSE(progress.account(kDirectAlignment));
        CHECK(progress.account(0));
    }
    const ReadCompletion completion = progress.completion();
    CHECK(completion.status.is_ok());
    CHECK(completion.bytes_read < 4 * kDirectAlignment);
}

TEST_CASE_FIXTURE(Fixture, "no call asks for more than the kernel gives at once") {
    const ReadProgress progress(request(3 * ReadProgress::kMaxCallBytes));
    CHECK(progress.bytes() == ReadProgress::kMaxCallBytes);
}

TEST_CASE_FIXTURE(Fixture, "a blocking read fills its destination") {
    const ReadCompletion completion = finish_blocking(ReadProgress(request(3 * kDirectAlignment)));
    CHECK(completion.status.is_ok());
    CHECK(completion.bytes_read == 3 * kDirectAlignment);
    CHECK(matching_bytes(memory.data(), completion.bytes_read, kDirectAlignment) == completion.bytes_read);
}

}  // namespace edgemoe::test
