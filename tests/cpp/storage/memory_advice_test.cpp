#include "storage/memory_advice.h"

#include "storage/aligned_memory.h"

#include <doctest/doctest.h>

#include <cstring>
#include <string>

namespace edgemoe {

TEST_CASE("OnlyPagesThatWereTouchedAreCounted") {
    constexpr size_t kBytes = size_t{16} << 20;
    constexpr size_t kHugePage = size_t{2} << 20;  // what one touch may bring
    const Result<AlignedMemory> memory = AlignedMemory::allocate(kBytes, AlignedMemory::Access::kReadWrite);
    REQUIRE(memory.is_ok());
    std::byte * data = memory.value().data();
    CHECK(touched_bytes(data, kBytes) <= kHugePage);
    std::memset(data, 1, kBytes / 4);
    CHECK(touched_bytes(data, kBytes) >= kBytes / 4);
    CHECK(touched_bytes(data, kBytes) <= kBytes / 4 + 2 * kHugePage);
    std::memset(data, 1, kBytes);
    CHECK(touched_bytes(data, kBytes) == kBytes);
}

TEST_CASE("LockedMemoryIsTouchedLaterAndARefusalNamesTheLimit") {
    constexpr size_t kBytes = size_t{16} << 20;
    Result<AlignedMemory> memory = AlignedMemory::allocate(kBytes, AlignedMemory::Access::kReadWrite);
    REQUIRE(memory.is_ok());
    std::byte * data = memory.value().data();
    if (lock_in_memory(data, kBytes).is_ok()) {
        CHECK(touched_bytes(data, kBytes) < kBytes / 2);
    }
    memory.value() = AlignedMemory();  // its addresses cannot be locked any more
    const Status refused = lock_in_memory(data, kBytes);
    CHECK(refused.code() == StatusCode::kOutOfBudget);
    CHECK(refused.message().find("16 MiB cannot be locked") != std::string::npos);
    CHECK(refused.message().find("RLIMIT_MEMLOCK") != std::string::npos);
    CHECK(lock_in_memory(data, 0).is_ok());
}

}  // namespace edgemoe
