#include "cache/range_allocator.h"

#include <doctest/doctest.h>

#include <cstdint>
#include <random>
#include <vector>

namespace edgemoe {

TEST_CASE("NothingIsFreeInAnArenaOfNoBytes") {
    RangeAllocator ranges(0);
    uint64_t offset = 7;
    CHECK_FALSE(ranges.take(1, &offset));
    CHECK(offset == 7);
    CHECK(ranges.free_ranges().empty());
}

TEST_CASE("TheTightestRangeIsTakenAndOfEqualsTheLowest") {
    RangeAllocator ranges(100);
    uint64_t offset = 0;
    REQUIRE(ranges.take(100, &offset));
    for (const auto & [from, bytes] : {std::pair<uint64_t, uint64_t>{0, 20}, {30, 10}, {50, 10}, {70, 30}}) {
        ranges.give_back(from, bytes);
    }
    REQUIRE(ranges.take(10, &offset));
    CHECK(offset == 30);
    REQUIRE(ranges.take(10, &offset));
    CHECK(offset == 50);
    REQUIRE(ranges.take(25, &offset));
    CHECK(offset == 70);
    CHECK(ranges.free_bytes() == 25);
    CHECK_FALSE(ranges.take(21, &offset));
}

TEST_CASE("FreedRangesMergeWithBothNeighbours") {
    RangeAllocator ranges(30);
    uint64_t offset = 0;
    REQUIRE(ranges.take(30, &offset));
    ranges.give_back(0, 10);
    ranges.give_back(20, 10);
    CHECK(ranges.free_ranges().size() == 2);
    ranges.give_back(10, 10);
    REQUIRE(ranges.free_ranges().size() == 1);
    CHECK(ranges.free_ranges()[0].bytes == 30);
}

TEST_CASE("RandomUseLosesNothing") {
    for (uint32_t seed = 1; seed <= 5; ++seed) {
        CAPTURE(seed);
        std::mt19937 random(seed);
        constexpr uint64_t kBytes = 1000;
        RangeAllocator ranges(kBytes);
        std::vector<RangeAllocator::Range> taken;
        uint64_t taken_bytes = 0;
        for (int step = 0; step < 3000; ++step) {
            if (random() % 2 == 0) {
                RangeAllocator::Range range{0, 1 + random() % 120};
                if (ranges.take(range.bytes, &range.offset)) {
                    taken.push_back(range);
                    taken_bytes += range.bytes;
                }
            } else if (!taken.empty()) {
                std::swap(taken[random() % taken.size()], taken.back());
                ranges.give_back(taken.back().offset, taken.back().bytes);
                taken_bytes -= taken.back().bytes;
                taken.pop_back();
            }
            REQUIRE(ranges.free_bytes() + taken_bytes == kBytes);
        }
        std::vector<bool> used(kBytes, false);
        taken.insert(taken.end(), ranges.free_ranges().begin(), ranges.free_ranges().end());
        for (const RangeAllocator::Range & range : taken) {
            for (uint64_t i = range.offset; i < range.offset + range.bytes; ++i) {
                REQUIRE_FALSE(used[i]);
                used[i] = true;
            }
        }
    }
}

}  // namespace edgemoe
