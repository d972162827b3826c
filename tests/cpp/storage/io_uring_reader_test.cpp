// What io_uring_reader.cpp promises beyond the contract in async_reader_test.cpp; and io_uring_stub.cpp where that is
// built.
#include "reader_testing.h"
#include "storage/async_reader.h"

#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace edgemoe::test {

TEST_CASE("io_uring works, or is unsupported with a reason") {
    const Result<std::unique_ptr<AsyncReader>> ring = make_io_uring_reader(4);
    if (!ring.is_ok()) {
        CHECK(ring.status().code() == StatusCode::kUnsupported);
        CHECK(ring.status().message().rfind("io_uring: ", 0) == 0);
        CHECK(ring.status().message().size() > 20);
    } else {
        CHECK(std::string(ring.value()->name()) == "uring");
    }
}

TEST_CASE("with one lane, io_uring starts in order of priority and knows what it has not started") {
    const TemporaryFile temporary(6 * kDirectAlignment);
    const auto file = open_file(temporary.path(), true);
    const AlignedMemory memory = allocate(6 * kDirectAlignment);
    const auto reader = make_engine("uring", 1);
    if (reader == nullptr) {
        return;
    }
    reader->submit(consecutive_reads(*file, memory.data(), 6, kDirectAlignment, ReadPriority::kPrefetch));
    reader->promote(4);  // 0 is in the ring, the rest waits
    reader->cancel(2);
    reader->cancel(0);
    std::vector<uint64_t> read_ids;
    std::vector<uint64_t> cancelled_ids;
    for (const ReadCompletion & completion : wait_for_all(reader.get())) {
        (completion.status.is_ok() ? read_ids : cancelled_ids).push_back(completion.id);
    }
    CHECK(read_ids == std::vector<uint64_t>{0, 4, 1, 3, 5});
    CHECK(cancelled_ids == std::vector<uint64_t>{2});
}

TEST_CASE("cancelling from another thread while one waits in the ring delivers everything once") {
    constexpr size_t n = 256;
    const TemporaryFile temporary(n * kDirectAlignment);
    const auto file = open_file(temporary.path(), true);
    const AlignedMemory memory = allocate(n * kDirectAlignment);
    const auto reader = make_engine("uring", 1);
    if (reader == nullptr) {
        return;
    }
    for (int round = 0; round < 20; ++round) {
        reader->submit(consecutive_reads(*file, memory.data(), n, kDirectAlignment));
        std::thread canceller([&reader] {
            for (uint64_t id = n; id > 0; --id) {
                reader->cancel(id - 1);
            }
        });
        const size_t n_delivered = wait_for_all(reader.get()).size();
        canceller.join();
        CHECK(n_delivered == n);
    }
}

TEST_CASE("reads go into registered and other memory, from registered and other files") {
    constexpr size_t n = 32;
    const TemporaryFile temporary(n * kDirectAlignment + 100);
    const TemporaryFile other(n * kDirectAlignment);
    for (const bool want_direct : {false, true}) {
        CAPTURE(want_direct);
        const auto file = open_file(temporary.path(), want_direct);
        const auto other_file = open_file(other.path(), want_direct);
        const AlignedMemory memory = allocate((n + 1) * kDirectAlignment);
        const AlignedMemory other_memory = allocate(n * kDirectAlignment);
        const auto reader = make_engine("uring", 4);
        if (reader == nullptr) {
            return;
        }
        reader->prepare({file}, memory.data(), memory.size_bytes());
        std::vector<ReadRequest> requests = consecutive_reads(*file, memory.data(), n + 1, kDirectAlignment);
        for (ReadRequest request : consecutive_reads(*other_file, other_memory.data(), n, kDirectAlignment)) {
            request.id += n + 1;
            requests.push_back(request);
        }
        reader->submit(requests);
        const std::vector<ReadCompletion> completions = wait_for_all(reader.get());
        CHECK(completions.size() == 2 * n + 1);
        for (const ReadCompletion & completion : completions) {
            CHECK_MESSAGE(completion.status.is_ok(), completion.status.message());
            CHECK(completion.bytes_read == (completion.id == n ? 100 : kDirectAlignment));
        }
        CHECK(matching_bytes(memory.data(), n * kDirectAlignment + 100, 0) == n * kDirectAlignment + 100);
        CHECK(matching_bytes(other_memory.data(), n * kDirectAlignment, 0) == n * kDirectAlignment);
    }
}

TEST_CASE("an absurd number of lanes is cut to what a ring can have") {
    const auto reader = make_engine("uring", 1'000'000);
    if (reader == nullptr) {
        return;
    }
    std::vector<ReadCompletion> completions;
    CHECK(reader->wait(&completions) == 0);
}

}  // namespace edgemoe::test
