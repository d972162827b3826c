#include "faulty_reader.h"

#include "reader_testing.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <memory>
#include <numeric>
#include <thread>
#include <utility>
#include <vector>

namespace edgemoe::test {
namespace {

constexpr size_t kReads = 32;
constexpr size_t kReadBytes = kDirectAlignment;

// A faulty reader over an engine, and a file and memory for kReads reads.
struct Bench {
    explicit Bench(FaultPlan plan) : reader(make_thread_reader(4), plan) {}

    std::vector<ReadCompletion> read_all() {
        reader.submit(consecutive_reads(*file, memory.data(), kReads, kReadBytes));
        std::vector<ReadCompletion> completions = wait_for_all(&reader);
        std::vector<uint64_t> ids = ids_of(completions);
        std::sort(ids.begin(), ids.end());
        std::vector<uint64_t> expected(kReads);
        std::iota(expected.begin(), expected.end(), 0);
        CHECK(ids == expected);
        return completions;
    }

    TemporaryFile temporary{kReads * kReadBytes};
    std::shared_ptr<const File> file = open_file(temporary.path(), false);
    AlignedMemory memory = allocate(kReads * kReadBytes);
    FaultyReader reader;
};

}  // namespace

TEST_CASE("without a plan the faulty reader is the reader inside") {
    Bench bench({});
    for (const ReadCompletion & completion : bench.read_all()) {
        CHECK(completion.status.is_ok());
        CHECK(completion.bytes_read == kReadBytes);
    }
    CHECK(matching_bytes(bench.memory.data(), kReads * kReadBytes, 0) == kReads * kReadBytes);
    CHECK(bench.reader.n_submitted() == kReads);
}

TEST_CASE("exactly the n-th read fails") {
    FaultPlan plan;
    plan.fail_read = 7;
    Bench bench(plan);
    for (const ReadCompletion & completion : bench.read_all()) {
        CHECK(completion.status.is_ok() == (completion.id != 7));
        if (completion.id == 7) {
            CHECK(completion.status.code() == StatusCode::kIo);
            CHECK(completion.status.message() ==
                  bench.file->path() + ": read of 4096 bytes at offset 28672: Input/output error");
        }
    }
}

TEST_CASE("exactly the n-th read is short") {
    FaultPlan plan;
    plan.shorten_read = 3;
    plan.shorten_by_bytes = 100;
    Bench bench(plan);
    for (const ReadCompletion & completion : bench.read_all()) {
        CHECK(completion.status.is_ok());
        CHECK(completion.bytes_read == kReadBytes - (completion.id == 3 ? 100 : 0));
    }
}

TEST_CASE("exactly the n-th read has a wrong bit") {
    FaultPlan plan;
    plan.corrupt_read = 11;
    Bench bench(plan);
    bench.read_all();
    size_t n_wrong = 0;
    for (size_t i = 0; i < kReads * kReadBytes; ++i) {
        if (bench.memory.data()[i] != pattern_byte(i)) {
            ++n_wrong;
            CHECK(i / kReadBytes == 11);
        }
    }
    CHECK(n_wrong == 1);
}

TEST_CASE("completions are held back until others came, and reordered") {
    FaultPlan plan;
    plan.reorder = true;
    plan.hold_back = kReads / 2;
    Bench bench(plan);
    bench.reader.submit(consecutive_reads(*bench.file, bench.memory.data(), kReads, kReadBytes));
    std::vector<ReadCompletion> completions;
    CHECK(bench.reader.wait(&completions) >= kReads / 2);
    while (bench.reader.wait(&completions) > 0) {
    }
    CHECK(completions.size() == kReads);
    CHECK_FALSE(std::is_sorted(completions.begin(), completions.end(),
                               [](const ReadCompletion & a, const ReadCompletion & b) { return a.id < b.id; }));
}

TEST_CASE("the last completions are delivered even if fewer came than are held back") {
    FaultPlan plan;
    plan.hold_back = 10 * kReads;
    Bench bench(plan);
    CHECK(bench.read_all().size() == kReads);
}

TEST_CASE("several threads that wait on a faulty reader share its completions and all return") {
    FaultPlan plan;
    plan.hold_back = 5;
    plan.reorder = true;
    plan.fail_one_in = 4;
    Bench bench(plan);
    bench.reader.submit(consecutive_reads(*bench.file, bench.memory.data(), kReads, kReadBytes));
    std::atomic<size_t> n_delivered{0};
    std::vector<std::thread> waiters;
    for (int i = 0; i < 3; ++i) {
        waiters.emplace_back([&] { n_delivered += wait_for_all(&bench.reader).size(); });
    }
    for (std::thread & waiter : waiters) {
        waiter.join();
    }
    CHECK(n_delivered == kReads);
}

}  // namespace edgemoe::test
