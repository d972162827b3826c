#include "store/row_table.h"

#include "faulty_reader.h"
#include "reader_testing.h"

#include <doctest/doctest.h>

#include <map>
#include <numeric>
#include <vector>

namespace edgemoe::test {
namespace {

constexpr size_t kRowBytes = 1234;
constexpr int64_t kRows = 300;
constexpr uint64_t kOffset = 97;

struct Table {
    explicit Table(size_t n_kept, FaultPlan plan = {})
        : temporary(kOffset + kRowBytes * kRows),
          file(open_file(temporary.path(), true)),
          reader(make_thread_reader(2), plan) {
        Result<std::unique_ptr<RowTable>> made =
            RowTable::create({file.get(), kOffset, kRowBytes, kRows}, n_kept * kRowBytes, reader);
        REQUIRE(made.is_ok());
        table = std::move(made).value();
    }

    // Checks that every place is named once, with the bytes of its row.
    Status visit(const std::vector<int32_t> & rows) {
        std::map<size_t, int> named;
        Status status = table->visit(rows, [&](const std::vector<size_t> & places, const std::byte * row) {
            for (const size_t place : places) {
                named[place]++;
                const uint64_t offset = kOffset + static_cast<uint64_t>(rows[place]) * kRowBytes;
                CHECK(matching_bytes(row, kRowBytes, offset) == kRowBytes);
            }
        });
        if (status.is_ok()) {
            CHECK(named.size() == rows.size());
            for (const auto & [place, times] : named) {
                CHECK(times == 1);
            }
        }
        return status;
    }

    TemporaryFile temporary;
    std::shared_ptr<const File> file;
    FaultyReader reader;
    std::unique_ptr<RowTable> table;
};

}  // namespace

TEST_CASE("RowsAreGivenInAnyOrderAndAsOftenAsAskedFor") {
    Table table(8);
    CHECK(table.visit({5, 299, 0, 5, 5, 17, 0}).is_ok());
    CHECK(table.visit({}).is_ok());
    CHECK(table.visit({299}).is_ok());
}

TEST_CASE("ARowInTheWindowIsNotReadAgain") {
    Table table(4);
    REQUIRE(table.visit({10, 50, 100}).is_ok());
    const uint64_t n_read = table.reader.n_submitted();
    CHECK(n_read == 3);
    CHECK(table.table->read_bytes() == 3 * kRowBytes);
    REQUIRE(table.visit({100, 10, 50, 50}).is_ok());
    CHECK(table.reader.n_submitted() == n_read);
    // 10 was used before 50 and 100: two new rows push out 10 alone, because a place was free.
    REQUIRE(table.visit({50}).is_ok());
    REQUIRE(table.visit({100}).is_ok());
    REQUIRE(table.visit({200, 250}).is_ok());
    REQUIRE(table.visit({50, 100, 200, 250}).is_ok());
    CHECK(table.reader.n_submitted() == n_read + 2);
    REQUIRE(table.visit({10}).is_ok());
    CHECK(table.reader.n_submitted() == n_read + 3);
}

TEST_CASE("MoreRowsThanTheWindowHoldsAreGivenAllTheSame") {
    Table table(3);
    std::vector<int32_t> rows(kRows);
    std::iota(rows.rbegin(), rows.rend(), 0);
    rows.insert(rows.end(), rows.begin(), rows.end());
    CHECK(table.visit(rows).is_ok());
    CHECK(table.visit(rows).is_ok());
}

TEST_CASE("NeighboursAreOneRead") {
    Table table(kRows);
    std::vector<int32_t> rows(40);
    std::iota(rows.begin(), rows.end(), 100);
    REQUIRE(table.visit(rows).is_ok());
    CHECK(table.reader.n_submitted() == 1);
    CHECK(table.table->read_bytes() == 40 * kRowBytes);
}

TEST_CASE("ARowThatDoesNotExistIsRefused") {
    Table table(3);
    for (const int32_t row : {-1, static_cast<int32_t>(kRows)}) {
        CHECK(table.visit({1, row}).code() == StatusCode::kInvalidArgument);
    }
    CHECK(table.reader.n_submitted() == 0);
}

TEST_CASE("AFailedReadIsReportedAndTheRowIsReadAnew") {
    FaultPlan plan;
    plan.fail_read = 1;
    Table table(8, plan);
    CHECK(table.visit({3, 77, 150}).code() == StatusCode::kIo);
    CHECK(table.visit({3, 77, 150}).is_ok());
}

TEST_CASE("TheMemoryOfATableIsItsWindowAndItsReadBuffers") {
    const RowTablePlace place{nullptr, 0, kRowBytes, kRows};
    const uint64_t one = RowTable::memory_bytes(place, kRowBytes);
    CHECK(RowTable::memory_bytes(place, 1) == one);
    CHECK(RowTable::memory_bytes(place, 10 * kRowBytes) == one + 9 * kRowBytes);
    CHECK(one < (size_t{1} << 20));
}

}  // namespace edgemoe::test
