#include "storage/bandwidth_probe.h"

#include "faulty_reader.h"
#include "reader_testing.h"

#include <doctest/doctest.h>

#include <limits>

namespace edgemoe::test {
namespace {

constexpr double kForever = std::numeric_limits<double>::infinity();

std::vector<FileSpan> spans_of(const File & file, size_t n, uint64_t bytes) {
    std::vector<FileSpan> spans;
    for (size_t i = 0; i < n; ++i) {
        spans.push_back({&file, 100 + i * bytes, bytes});  // aligned to nothing
    }
    return spans;
}

}  // namespace

TEST_CASE("EverySpanIsReadOnceWithItsPadding") {
    const TemporaryFile temporary(20 * kDirectAlignment);
    const auto file = open_file(temporary.path(), true);
    for (const char * engine : kEngines) {
        CAPTURE(engine);
        const std::unique_ptr<AsyncReader> reader = make_engine(engine, 2);
        for (const size_t n_in_flight : {1, 3, 40}) {
            if (reader == nullptr) {
                continue;
            }
            const Result<Bandwidth> measured =
                probe_bandwidth(*reader, spans_of(*file, 10, 5000), n_in_flight, kForever);
            REQUIRE_MESSAGE(measured.is_ok(), measured.status().message());
            CHECK(measured.value().requests == 10);
            CHECK(measured.value().bytes >= 10 * 5000);
            CHECK(measured.value().bytes <= 10 * (5000 + 2 * kDirectAlignment));
            CHECK(measured.value().bytes_per_second() > 0);
        }
    }
}

TEST_CASE("WithNoTimeOrNothingToReadNothingIsRead") {
    const TemporaryFile temporary(kDirectAlignment);
    const auto file = open_file(temporary.path(), false);
    const std::unique_ptr<AsyncReader> reader = make_thread_reader(1);
    for (const size_t n_spans : {0, 1}) {
        const Result<Bandwidth> measured =
            probe_bandwidth(*reader, spans_of(*file, n_spans, 64), 2, n_spans == 0 ? kForever : 0.0);
        REQUIRE(measured.is_ok());
        CHECK(measured.value().requests == 0);
        CHECK(measured.value().bytes == 0);
    }
}

TEST_CASE("AReadThatFailsEndsTheProbe") {
    const TemporaryFile temporary(20 * kDirectAlignment);
    const auto file = open_file(temporary.path(), false);
    FaultPlan plan;
    plan.fail_read = 4;
    FaultyReader reader(make_thread_reader(2), plan);
    const Result<Bandwidth> measured = probe_bandwidth(reader, spans_of(*file, 10, 5000), 2, kForever);
    REQUIRE_FALSE(measured.is_ok());
    CHECK(measured.status().code() == StatusCode::kIo);
}

}  // namespace edgemoe::test
