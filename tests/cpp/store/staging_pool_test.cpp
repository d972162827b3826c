#include "store/staging_pool.h"

#include "storage/aligned_memory.h"
#include "storage/file.h"

#include <doctest/doctest.h>

#include <cstdint>
#include <set>

namespace edgemoe {

TEST_CASE("BuffersAreAlignedDistinctAndComeBack") {
    const AlignedMemory memory =
        AlignedMemory::allocate(6 * kDirectAlignment, AlignedMemory::Access::kReadWrite).value();
    StagingPool pool(memory.data(), 3, 2 * kDirectAlignment);
    CHECK(pool.buffer_bytes() == 2 * kDirectAlignment);
    for (int round = 0; round < 2; ++round) {
        std::set<std::byte *> places;
        std::set<size_t> buffers;
        while (!pool.empty()) {
            const size_t buffer = pool.take();
            buffers.insert(buffer);
            places.insert(pool.data(buffer));
            CHECK(reinterpret_cast<uintptr_t>(pool.data(buffer)) % kDirectAlignment == 0);
        }
        CHECK(buffers.size() == 3);
        CHECK(*places.rbegin() - *places.begin() == static_cast<std::ptrdiff_t>(4 * kDirectAlignment));
        for (const size_t buffer : buffers) {
            pool.give_back(buffer);
        }
    }
}

}  // namespace edgemoe
