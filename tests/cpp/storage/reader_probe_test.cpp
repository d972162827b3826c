#include "storage/reader_probe.h"

#include "faulty_reader.h"
#include "reader_testing.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <set>
#include <thread>

namespace edgemoe::test {
namespace {

// Hands on to another reader.
class ForwardingReader : public AsyncReader {
public:
    void submit(const std::vector<ReadRequest> & requests) override { inner_->submit(requests); }
    size_t reap(std::vector<ReadCompletion> * completions) override { return inner_->reap(completions); }
    size_t wait(std::vector<ReadCompletion> * completions) override { return inner_->wait(completions); }
    void cancel(uint64_t id) override { inner_->cancel(id); }
    void promote(uint64_t id) override { inner_->promote(id); }
    const char * name() const override { return "forwarding"; }

private:
    std::unique_ptr<AsyncReader> inner_ = make_thread_reader(2);
};

// Remembers what is read.
class WatchingReader final : public ForwardingReader {
public:
    void submit(const std::vector<ReadRequest> & requests) override {
        for (const ReadRequest & request : requests) {
            offsets.insert(request.offset);
            bytes += request.bytes;
        }
        ForwardingReader::submit(requests);
    }

    std::set<uint64_t> offsets;
    size_t bytes = 0;
};

// Its first batches take long, as those of a process that others keep from the processor.
class DelayedReader final : public ForwardingReader {
public:
    DelayedReader(int n_delayed, std::chrono::milliseconds delay) : n_delayed_(n_delayed), delay_(delay) {}
    void submit(const std::vector<ReadRequest> & requests) override {
        std::this_thread::sleep_for(n_batches++ < n_delayed_ ? delay_ : std::chrono::milliseconds(0));
        ForwardingReader::submit(requests);
    }

    int n_batches = 0;

private:
    int n_delayed_;
    std::chrono::milliseconds delay_;
};

}  // namespace

TEST_CASE("a reader that was disturbed for a few batches is not taken for a slow one") {
    const TemporaryFile temporary(256 * kDirectAlignment);
    const auto file = open_file(temporary.path(), true);
    DelayedReader disturbed(2, std::chrono::milliseconds(10)), other(0, std::chrono::milliseconds(0));
    // 10 ms would be the whole time of a comparison that nobody doubts.
    const Result<ReaderSpeeds> speeds = compare_readers(disturbed, other, *file, kDirectAlignment, 4, 10);
    REQUIRE(speeds.is_ok());
    CHECK(disturbed.n_batches > 2);
    CHECK(speeds.value().other < 10 * speeds.value().usual);
}

TEST_CASE("a reader that is slow is found to be") {
    const TemporaryFile temporary(256 * kDirectAlignment);
    const auto file = open_file(temporary.path(), true);
    DelayedReader slow(1000, std::chrono::milliseconds(10)), other(0, std::chrono::milliseconds(0));
    const Result<ReaderSpeeds> speeds = compare_readers(slow, other, *file, kDirectAlignment, 4, 1.5);
    REQUIRE(speeds.is_ok());
    CHECK(speeds.value().other > 1.5 * speeds.value().usual);
    CHECK(slow.n_batches <= 16);
}

TEST_CASE("a probe really reads, and two probes read different places") {
    const TemporaryFile temporary(64 * kDirectAlignment);
    const auto file = open_file(temporary.path(), true);
    std::set<uint64_t> seen;
    for (const size_t first : {0, 1}) {
        WatchingReader reader;
        const Result<double> speed = probe_reader(reader, *file, {2 * kDirectAlignment, 4, first, 2});
        REQUIRE(speed.is_ok());
        CHECK(speed.value() > 0);
        CHECK(reader.bytes == 8 * kDirectAlignment);
        CHECK(reader.offsets.size() == 4);
        seen.insert(reader.offsets.begin(), reader.offsets.end());
    }
    CHECK(seen.size() == 8);
    CHECK(*seen.rbegin() + 2 * kDirectAlignment <= file->size_bytes());
}

TEST_CASE("a file that is too small is not measured") {
    const TemporaryFile temporary(7 * kDirectAlignment);
    WatchingReader reader;
    const Result<double> speed = probe_reader(reader, *open_file(temporary.path(), true), {kDirectAlignment, 4, 0, 2});
    CHECK(speed.status().code() == StatusCode::kUnsupported);
    CHECK(reader.bytes == 0);
}

TEST_CASE("a read that fails is the probe's failure") {
    const TemporaryFile temporary(64 * kDirectAlignment);
    FaultPlan plan;
    plan.fail_read = 2;
    FaultyReader reader(make_thread_reader(2), plan);
    const Result<double> speed = probe_reader(reader, *open_file(temporary.path(), true), {kDirectAlignment, 4, 0, 2});
    CHECK(speed.status().code() == StatusCode::kIo);
}

}  // namespace edgemoe::test
