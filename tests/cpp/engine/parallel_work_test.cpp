#include "engine/parallel_work.h"

#include <doctest/doctest.h>

#include <atomic>
#include <new>
#include <vector>

namespace edgemoe {
namespace {

TEST_CASE("EachPieceIsDoneOnce") {
    std::vector<std::atomic<int>> done(1000);
    std::atomic<bool> thread_in_range{true};
    const Status status = run_in_parallel(done.size(), 3,
                                          [&](size_t index, int thread) {
                                              done[index]++;
                                              thread_in_range = thread_in_range && thread >= 0 && thread < 3;
                                              return Status::ok();
                                          },
                                          {});
    CHECK(status.is_ok());
    CHECK(thread_in_range);
    for (const std::atomic<int> & count : done) {
        CHECK(count == 1);
    }
}

TEST_CASE("TheFirstFailureEndsTheWork") {
    std::atomic<size_t> n_begun{0};
    const Status status = run_in_parallel(100000, 2,
                                          [&](size_t index, int) {
                                              n_begun++;
                                              return index == 10 ? Status(StatusCode::kIo, "broken") : Status::ok();
                                          },
                                          {});
    CHECK(status.code() == StatusCode::kIo);
    CHECK(status.message() == "broken");
    CHECK(n_begun < 100000);
}

TEST_CASE("AnExceptionBecomesAStatus") {
    const Status status = run_in_parallel(4, 2, [](size_t, int) -> Status { throw std::bad_alloc(); }, {});
    CHECK(status.code() == StatusCode::kOutOfBudget);
}

TEST_CASE("ProgressEndsWithAllPiecesAndCanCancel") {
    size_t last = 0;
    CHECK(run_in_parallel(
              7, 2, [](size_t, int) { return Status::ok(); },
              [&](size_t n_done) {
                  last = n_done;
                  return true;
              })
              .is_ok());
    CHECK(last == 7);
    const Status cancelled = run_in_parallel(
        7, 2, [](size_t, int) { return Status::ok(); }, [](size_t) { return false; });
    CHECK(cancelled.code() == StatusCode::kCancelled);
}

TEST_CASE("NoWorkIsDoneAtOnce") {
    CHECK(run_in_parallel(0, 4, [](size_t, int) { return Status(StatusCode::kInternal, ""); }, {}).is_ok());
}

}  // namespace
}  // namespace edgemoe
