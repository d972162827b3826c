#include "engine/process_memory.h"

#include <doctest/doctest.h>

#include <cstdint>
#include <cstring>
#include <vector>

namespace edgemoe {

TEST_CASE("ThePeakIsNeverBelowWhatIsResident") {
    const uint64_t resident_bytes = process_resident_bytes();
    CHECK(resident_bytes > 0);
    CHECK(process_peak_bytes() >= resident_bytes);
}

TEST_CASE("MemoryThatIsTouchedShowsInThePeak") {
    constexpr size_t kBytes = size_t{64} << 20;
    const uint64_t before_bytes = process_resident_bytes();
    std::vector<char> touched(kBytes);
    std::memset(touched.data(), 1, touched.size());
    CHECK(process_peak_bytes() >= before_bytes + kBytes / 2);
    CHECK(touched[kBytes / 3] == 1);
}

TEST_CASE("SomeMemoryIsAvailable") {
    CHECK(available_memory_bytes() > 0);
    CHECK(available_memory_bytes() < uint64_t{1} << 60);
}

}  // namespace edgemoe
