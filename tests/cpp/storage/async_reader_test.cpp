// The contract of async_reader.h, checked over every engine.
#include "storage/async_reader.h"

#include "reader_testing.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

namespace edgemoe::test {
namespace {

constexpr size_t kReadBytes = 4 * kDirectAlignment;

std::vector<uint64_t> sorted_ids_of(const std::vector<ReadCompletion> & completions) {
    std::vector<uint64_t> ids = ids_of(completions);
    std::sort(ids.begin(), ids.end());
    return ids;
}

std::vector<uint64_t> first_ids(size_t n) {
    std::vector<uint64_t> ids(n);
    std::iota(ids.begin(), ids.end(), 0);
    return ids;
}

// Runs `check(engine, want_direct)` for every engine that this machine has, over ordinary and direct files.
template <typename Check>
void for_each_engine(Check check) {
    for (const char * engine : kEngines) {
        if (make_engine(engine, 1) == nullptr) {
            continue;
        }
        for (const bool want_direct : {false, true}) {
            CAPTURE(engine);
            CAPTURE(want_direct);
            check(engine, want_direct);
        }
    }
}

}  // namespace

TEST_CASE("every request completes exactly once with the file's bytes") {
    for_each_engine([](const char * engine, bool want_direct) {
        constexpr size_t n = 64;
        const TemporaryFile temporary(n * kReadBytes);
        const auto file = open_file(temporary.path(), want_direct);
        const AlignedMemory memory = allocate(n * kReadBytes);
        for (const int n_lanes : {1, 3, 100}) {
            const auto reader = make_engine(engine, n_lanes);
            CHECK(std::string(reader->name()) == engine);
            std::fill_n(memory.data(), memory.size_bytes(), std::byte{0});
            reader->submit(consecutive_reads(*file, memory.data(), n, kReadBytes));
            const std::vector<ReadCompletion> completions = wait_for_all(reader.get());
            CHECK(sorted_ids_of(completions) == first_ids(n));
            for (const ReadCompletion & completion : completions) {
                CHECK_MESSAGE(completion.status.is_ok(), completion.status.message());
                CHECK(completion.bytes_read == kReadBytes);
            }
            CHECK(matching_bytes(memory.data(), n * kReadBytes, 0) == n * kReadBytes);
        }
    });
}

TEST_CASE("an idle reader has nothing to reap and nothing to wait for") {
    for_each_engine([](const char * engine, bool) {
        const auto reader = make_engine(engine, 2);
        std::vector<ReadCompletion> completions;
        CHECK(reader->reap(&completions) == 0);
        CHECK(reader->wait(&completions) == 0);
        reader->submit({});
        CHECK(reader->wait(&completions) == 0);
        reader->cancel(1);
        reader->promote(1);
        CHECK(reader->wait(&completions) == 0);
        CHECK(completions.empty());
    });
}

TEST_CASE("reaping alone is enough to see everything complete") {
    for_each_engine([](const char * engine, bool want_direct) {
        constexpr size_t n = 20;
        const TemporaryFile temporary(n * kReadBytes);
        const auto file = open_file(temporary.path(), want_direct);
        const AlignedMemory memory = allocate(n * kReadBytes);
        const auto reader = make_engine(engine, 2);
        reader->submit(consecutive_reads(*file, memory.data(), n, kReadBytes));
        std::vector<ReadCompletion> completions;
        while (completions.size() < n) {
            reader->reap(&completions);
            std::this_thread::yield();
        }
        CHECK(sorted_ids_of(completions) == first_ids(n));
        CHECK(matching_bytes(memory.data(), n * kReadBytes, 0) == n * kReadBytes);
    });
}

TEST_CASE("completions are appended to what the caller has") {
    for_each_engine([](const char * engine, bool want_direct) {
        const TemporaryFile temporary(2 * kReadBytes);
        const auto file = open_file(temporary.path(), want_direct);
        const AlignedMemory memory = allocate(2 * kReadBytes);
        const auto reader = make_engine(engine, 2);
        std::vector<ReadCompletion> completions(3);
        reader->submit(consecutive_reads(*file, memory.data(), 2, kReadBytes));
        size_t n = 0;
        while (const size_t n_more = reader->wait(&completions)) {
            n += n_more;
        }
        CHECK(n == 2);
        CHECK(completions.size() == 5);
    });
}

TEST_CASE("a read past the end of the file gives what there is, with an ok status") {
    for_each_engine([](const char * engine, bool want_direct) {
        const uint64_t size_bytes = kReadBytes + 1'234;
        const TemporaryFile temporary(size_bytes);
        const auto file = open_file(temporary.path(), want_direct);
        const AlignedMemory memory = allocate(3 * kReadBytes);
        const auto reader = make_engine(engine, 2);
        reader->submit(consecutive_reads(*file, memory.data(), 3, kReadBytes));
        std::vector<ReadCompletion> completions = wait_for_all(reader.get());
        REQUIRE(completions.size() == 3);
        std::sort(completions.begin(), completions.end(),
                  [](const ReadCompletion & a, const ReadCompletion & b) { return a.id < b.id; });
        for (const ReadCompletion & completion : completions) {
            CHECK_MESSAGE(completion.status.is_ok(), completion.status.message());
        }
        CHECK(completions[0].bytes_read == kReadBytes);
        CHECK(completions[1].bytes_read == 1'234);
        CHECK(completions[2].bytes_read == 0);
        CHECK(matching_bytes(memory.data(), size_bytes, 0) == size_bytes);
    });
}

TEST_CASE("a file that was cut after opening ends earlier, with an ok status") {
    for_each_engine([](const char * engine, bool want_direct) {
        const TemporaryFile temporary(2 * kReadBytes);
        const auto file = open_file(temporary.path(), want_direct);
        REQUIRE(::truncate(temporary.path().c_str(), kReadBytes + 100) == 0);
        const AlignedMemory memory = allocate(2 * kReadBytes);
        const auto reader = make_engine(engine, 1);
        reader->submit(consecutive_reads(*file, memory.data(), 1, 2 * kReadBytes));
        const std::vector<ReadCompletion> completions = wait_for_all(reader.get());
        REQUIRE(completions.size() == 1);
        CHECK_MESSAGE(completions[0].status.is_ok(), completions[0].status.message());
        CHECK(completions[0].bytes_read == kReadBytes + 100);
        CHECK(matching_bytes(memory.data(), kReadBytes + 100, 0) == kReadBytes + 100);
    });
}

TEST_CASE("an error of the system completes its read alone, and the message names file, size and offset") {
    for_each_engine([](const char * engine, bool want_direct) {
        const TemporaryFile temporary(3 * kReadBytes);
        const auto file = open_file(temporary.path(), want_direct);
        const AlignedMemory memory = allocate(3 * kReadBytes);
        const AlignedMemory forbidden = allocate(kReadBytes, AlignedMemory::Access::kReserved);
        const auto reader = make_engine(engine, 2);
        std::vector<ReadRequest> requests = consecutive_reads(*file, memory.data(), 3, kReadBytes);
        requests[1].destination = forbidden.data();
        reader->submit(requests);
        const std::vector<ReadCompletion> completions = wait_for_all(reader.get());
        CHECK(sorted_ids_of(completions) == first_ids(3));
        for (const ReadCompletion & completion : completions) {
            CHECK(completion.status.is_ok() == (completion.id != 1));
            if (completion.id == 1) {
                CHECK(completion.status.code() == StatusCode::kIo);
                CHECK(completion.status.message() ==
                      temporary.path() + ": read of 16384 bytes at offset 16384: Bad address");
            }
        }
        reader->submit(consecutive_reads(*file, memory.data(), 3, kReadBytes));
        for (const ReadCompletion & completion : wait_for_all(reader.get())) {
            CHECK(completion.status.is_ok());
        }
    });
}

TEST_CASE("demand reads overtake prefetches that were submitted with them") {
    for_each_engine([](const char * engine, bool want_direct) {
        const TemporaryFile temporary(6 * kReadBytes);
        const auto file = open_file(temporary.path(), want_direct);
        const AlignedMemory memory = allocate(6 * kReadBytes);
        const auto reader = make_engine(engine, 1);
        std::vector<ReadRequest> requests =
            consecutive_reads(*file, memory.data(), 6, kReadBytes, ReadPriority::kPrefetch);
        for (const size_t demand : {3, 4, 5}) {
            requests[demand].priority = ReadPriority::kDemand;
        }
        reader->submit(requests);
        CHECK(ids_of(wait_for_all(reader.get())) == std::vector<uint64_t>{3, 4, 5, 0, 1, 2});
    });
}

TEST_CASE("a cancelled request still completes once: cancelled without data, or with all of it") {
    for_each_engine([](const char * engine, bool want_direct) {
        constexpr size_t n = 64;
        const TemporaryFile temporary(n * kReadBytes);
        const auto file = open_file(temporary.path(), want_direct);
        const AlignedMemory memory = allocate(n * kReadBytes);
        const auto reader = make_engine(engine, 1);
        reader->submit(consecutive_reads(*file, memory.data(), n, kReadBytes, ReadPriority::kPrefetch));
        for (size_t id = n; id > 0; --id) {
            reader->promote(id - 1);
            reader->cancel(id - 1);
            reader->cancel(id - 1);
        }
        const std::vector<ReadCompletion> completions = wait_for_all(reader.get());
        CHECK(sorted_ids_of(completions) == first_ids(n));
        for (const ReadCompletion & completion : completions) {
            if (completion.status.is_ok()) {
                const size_t offset = completion.id * kReadBytes;
                CHECK(completion.bytes_read == kReadBytes);
                CHECK(matching_bytes(memory.data() + offset, kReadBytes, offset) == kReadBytes);
            } else {
                CHECK(completion.status.code() == StatusCode::kCancelled);
                CHECK(completion.status.message() == temporary.path() + ": read of 16384 bytes at offset " +
                                                         std::to_string(completion.id * kReadBytes) + ": cancelled");
                CHECK(completion.bytes_read == 0);
            }
        }
    });
}

TEST_CASE("several threads that wait share the completions, and all return when the last one was delivered") {
    for_each_engine([](const char * engine, bool want_direct) {
        constexpr size_t n = 100;
        const TemporaryFile temporary(n * kReadBytes);
        const auto file = open_file(temporary.path(), want_direct);
        const AlignedMemory memory = allocate(n * kReadBytes);
        const auto reader = make_engine(engine, 2);
        reader->submit(consecutive_reads(*file, memory.data(), n, kReadBytes));
        std::vector<std::vector<ReadCompletion>> by_waiter(4);
        std::vector<std::thread> waiters;
        for (std::vector<ReadCompletion> & completions : by_waiter) {
            waiters.emplace_back([&reader, &completions] { completions = wait_for_all(reader.get()); });
        }
        std::vector<ReadCompletion> all;
        for (size_t i = 0; i < waiters.size(); ++i) {
            waiters[i].join();
            all.insert(all.end(), by_waiter[i].begin(), by_waiter[i].end());
        }
        CHECK(sorted_ids_of(all) == first_ids(n));
    });
}

TEST_CASE("what a thread submitted completes after that thread has ended") {
    for_each_engine([](const char * engine, bool want_direct) {
        constexpr size_t n = 64;
        const TemporaryFile temporary(n * kReadBytes);
        const auto file = open_file(temporary.path(), want_direct);
        file->drop_page_cache();
        const AlignedMemory memory = allocate(n * kReadBytes);
        const auto reader = make_engine(engine, 32);
        std::thread([&] { reader->submit(consecutive_reads(*file, memory.data(), n, kReadBytes)); }).join();
        for (const ReadCompletion & completion : wait_for_all(reader.get())) {
            CHECK_MESSAGE(completion.status.is_ok(), completion.status.message());
        }
        CHECK(matching_bytes(memory.data(), n * kReadBytes, 0) == n * kReadBytes);
    });
}

TEST_CASE("the destructor waits for what is in flight, and drops the rest") {
    for_each_engine([](const char * engine, bool want_direct) {
        constexpr size_t n = 64;
        const TemporaryFile temporary(n * kReadBytes);
        const auto file = open_file(temporary.path(), want_direct);
        for (int round = 0; round < 10; ++round) {
            const AlignedMemory memory = allocate(n * kReadBytes);
            const auto reader = make_engine(engine, 4);
            reader->submit(consecutive_reads(*file, memory.data(), n, kReadBytes));
        }
    });
}

}  // namespace edgemoe::test
