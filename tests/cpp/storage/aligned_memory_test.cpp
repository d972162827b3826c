#include "storage/aligned_memory.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>

namespace edgemoe::test {

TEST_CASE("memory is zero-filled, page-aligned, writable and whole pages long") {
    const auto page_bytes = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
    Result<AlignedMemory> allocated = AlignedMemory::allocate(page_bytes + 1, AlignedMemory::Access::kReadWrite);
    REQUIRE(allocated.is_ok());
    const AlignedMemory & memory = allocated.value();
    CHECK(memory.size_bytes() == 2 * page_bytes);
    CHECK(reinterpret_cast<uintptr_t>(memory.data()) % page_bytes == 0);
    std::byte * end = memory.data() + memory.size_bytes();
    CHECK(std::all_of(memory.data(), end, [](std::byte byte) { return byte == std::byte{0}; }));
    end[-1] = std::byte{7};
    CHECK(end[-1] == std::byte{7});
}

TEST_CASE("no bytes need no mapping") {
    Result<AlignedMemory> allocated = AlignedMemory::allocate(0, AlignedMemory::Access::kReadWrite);
    REQUIRE(allocated.is_ok());
    CHECK(allocated.value().size_bytes() == 0);
    CHECK(allocated.value().data() == nullptr);
}

TEST_CASE("addresses are reserved far beyond the machine's memory") {
    const size_t bytes = size_t{256} << 30;
    Result<AlignedMemory> reserved = AlignedMemory::allocate(bytes, AlignedMemory::Access::kReserved);
    REQUIRE(reserved.is_ok());
    CHECK(reserved.value().size_bytes() == bytes);
}

TEST_CASE("more than the address space is out of budget, and the message names the figure") {
    for (const size_t bytes : {std::numeric_limits<size_t>::max(), std::numeric_limits<size_t>::max() / 2}) {
        const Status status = AlignedMemory::allocate(bytes, AlignedMemory::Access::kReadWrite).status();
        CHECK(status.code() == StatusCode::kOutOfBudget);
        CHECK(status.message().find(std::to_string(bytes)) != std::string::npos);
    }
}

TEST_CASE("a move hands the mapping over and leaves nothing behind") {
    AlignedMemory first = AlignedMemory::allocate(100, AlignedMemory::Access::kReadWrite).value();
    std::byte * data = first.data();
    data[5] = std::byte{42};
    AlignedMemory second(std::move(first));
    CHECK(first.data() == nullptr);
    CHECK(first.size_bytes() == 0);
    CHECK(second.data() == data);
    AlignedMemory third = AlignedMemory::allocate(100, AlignedMemory::Access::kReadWrite).value();
    third = std::move(second);
    CHECK(second.data() == nullptr);
    CHECK(third.data()[5] == std::byte{42});
    AlignedMemory & same = third;
    third = std::move(same);
    CHECK(third.data() == data);
}

}  // namespace edgemoe::test
