#include "storage/bulk_read.h"

#include "faulty_reader.h"
#include "reader_testing.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <set>
#include <vector>

namespace edgemoe::test {
namespace {

constexpr uint64_t kFileBytes = 600'001;

// Stretches of odd sizes and places that cover the file, and one byte at its end once more.
std::vector<Stretch> odd_stretches(const File & file) {
    std::vector<Stretch> stretches;
    uint64_t offset = 0;
    for (size_t bytes = 1; offset + bytes <= file.size_bytes(); bytes = bytes * 2 % 65'521 + 3) {
        stretches.push_back({&file, offset, bytes});
        offset += bytes;
    }
    stretches.push_back({&file, offset, static_cast<size_t>(file.size_bytes() - offset)});
    stretches.push_back({&file, file.size_bytes() - 1, 1});
    return stretches;
}

BulkReadOptions with(size_t n_buffers, int n_threads) {
    BulkReadOptions options;
    options.n_buffers = n_buffers;
    options.n_threads = n_threads;
    return options;
}

}  // namespace

TEST_CASE("EveryStretchIsTakenOnceWithItsBytes") {
    const TemporaryFile temporary(kFileBytes);
    for (const bool direct : {false, true}) {
        const std::shared_ptr<const File> file = open_file(temporary.path(), direct);
        const std::vector<Stretch> stretches = odd_stretches(*file);
        for (const char * engine : kEngines) {
            for (const int n_threads : {1, 3}) {
                for (const size_t n_buffers : {1, 5}) {
                    std::unique_ptr<AsyncReader> reader = make_engine(engine, 4);
                    if (reader == nullptr) {
                        continue;
                    }
                    std::mutex mutex;
                    std::multiset<size_t> taken;
                    size_t wrong = 0;
                    size_t failed = 0;
                    const Status status = bulk_read(
                        stretches, *reader, with(n_buffers, n_threads),
                        [&](size_t i, const std::byte * data) {
                            const bool right =
                                matching_bytes(data, stretches[i].bytes, stretches[i].offset) == stretches[i].bytes;
                            const std::lock_guard<std::mutex> lock(mutex);
                            taken.insert(i);
                            wrong += right ? 0 : 1;
                        },
                        &failed);
                    CHECK_MESSAGE(status.is_ok(), status.message());
                    CHECK(wrong == 0);
                    CHECK(taken.size() == stretches.size());
                    CHECK(std::set<size_t>(taken.begin(), taken.end()).size() == stretches.size());
                }
            }
        }
    }
}

TEST_CASE("ProgressRisesToOneAndCanStop") {
    const TemporaryFile temporary(kFileBytes);
    const std::shared_ptr<const File> file = open_file(temporary.path(), false);
    const std::vector<Stretch> stretches = odd_stretches(*file);
    const std::unique_ptr<AsyncReader> reader = make_thread_reader(2);
    std::vector<float> parts;
    BulkReadOptions options = with(4, 1);
    options.progress = [&parts](float part) {
        parts.push_back(part);
        return true;
    };
    size_t failed = 0;
    REQUIRE(bulk_read(
                stretches, *reader, options, [](size_t, const std::byte *) {}, &failed)
                .is_ok());
    CHECK(parts.size() == stretches.size());
    CHECK(std::is_sorted(parts.begin(), parts.end()));
    CHECK(parts.back() == 1.0F);
    parts.clear();
    options.n_threads = 3;
    REQUIRE(bulk_read(
                stretches, *reader, options, [](size_t, const std::byte *) {}, &failed)
                .is_ok());
    CHECK(parts.back() == 1.0F);
    options.n_threads = 1;

    options.progress = [](float part) { return part < 0.5F; };
    std::atomic<size_t> n_taken{0};
    const Status status = bulk_read(
        stretches, *reader, options, [&n_taken](size_t, const std::byte *) { n_taken++; }, &failed);
    CHECK(status.code() == StatusCode::kCancelled);
    CHECK(failed == stretches.size());
    CHECK(n_taken < stretches.size());
}

TEST_CASE("AFailedOrShortReadIsReportedWithItsStretchAndNothingStaysInFlight") {
    const TemporaryFile temporary(kFileBytes);
    const std::shared_ptr<const File> file = open_file(temporary.path(), false);
    const std::vector<Stretch> stretches = odd_stretches(*file);
    for (const int n_threads : {1, 2}) {
        FaultPlan plan;
        plan.reorder = true;
        plan.fail_read = 7;
        FaultyReader failing(make_thread_reader(2), plan);
        size_t failed = 0;
        Status status = bulk_read(
            stretches, failing, with(4, n_threads), [](size_t, const std::byte *) {}, &failed);
        CHECK(status.code() == StatusCode::kIo);
        // Threads submit side by side: the reader's n-th read may be another stretch, as far away as reads in flight.
        const size_t away = n_threads == 1 ? 0 : 3;
        CHECK(failed + away >= 7);
        CHECK(failed <= 7 + away);
        std::vector<ReadCompletion> left;
        CHECK(failing.wait(&left) == 0);

        FaultPlan truncation;
        truncation.shorten_read = 5;
        truncation.shorten_by_bytes = 70'000;
        FaultyReader shortening(make_thread_reader(2), truncation);
        status = bulk_read(
            stretches, shortening, with(4, n_threads), [](size_t, const std::byte *) {}, &failed);
        CHECK(status.code() == StatusCode::kFormat);
        CHECK(failed + away >= 5);
        CHECK(failed <= 5 + away);
        CHECK(status.message().find("truncated") != std::string::npos);
    }
}

TEST_CASE("NothingIsReadWhereNothingIsAskedFor") {
    const std::unique_ptr<AsyncReader> reader = make_thread_reader(1);
    size_t failed = 1;
    CHECK(bulk_read(
              {}, *reader, with(1, 1), [](size_t, const std::byte *) {}, &failed)
              .is_ok());
    CHECK(failed == 0);
}

}  // namespace edgemoe::test
