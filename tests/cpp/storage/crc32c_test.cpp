#include "storage/crc32c.h"

#include <doctest/doctest.h>

#include <cstdint>
#include <cstring>
#include <random>
#include <vector>

namespace edgemoe::test {
namespace {

std::vector<uint8_t> random_bytes(size_t n) {
    std::mt19937 random(static_cast<uint32_t>(n) + 1);
    std::vector<uint8_t> bytes(n);
    for (uint8_t & byte : bytes) {
        byte = static_cast<uint8_t>(random());
    }
    return bytes;
}

}  // namespace

// RFC 3720, B.4, and the customary check value.
TEST_CASE("KnownChecksumsComeOutWithTheInstructionAndWithout") {
    std::vector<uint8_t> rising(32);
    for (size_t i = 0; i < rising.size(); ++i) {
        rising[i] = static_cast<uint8_t>(i);
    }
    const struct {
        std::vector<uint8_t> bytes;
        uint32_t checksum;
    } known[] = {{{}, 0},
                 {{'1', '2', '3', '4', '5', '6', '7', '8', '9'}, 0xE3069283},
                 {std::vector<uint8_t>(32, 0x00), 0x8A9136AA},
                 {std::vector<uint8_t>(32, 0xFF), 0x62A8AB43},
                 {rising, 0x46DD794E}};
    for (const auto & [bytes, checksum] : known) {
        CHECK(crc32c(bytes.data(), bytes.size()) == checksum);
        CHECK(crc32c_portable(bytes.data(), bytes.size()) == checksum);
    }
}

TEST_CASE("BothWaysAgreeAtEveryLengthAndPlace") {
    const std::vector<uint8_t> bytes = random_bytes(100'000);
    for (const size_t first : {0, 1, 7}) {
        for (const size_t n : {1, 7, 8, 9, 63, 4096, 16'383, 16'384, 16'385, 50'001, 99'990}) {
            CAPTURE(first);
            CAPTURE(n);
            CHECK(crc32c(bytes.data() + first, n) == crc32c_portable(bytes.data() + first, n));
        }
    }
}

TEST_CASE("TheChecksumOfAWholeFollowsFromThoseOfItsParts") {
    const std::vector<uint8_t> bytes = random_bytes(40'000);
    const uint32_t whole = crc32c(bytes.data(), bytes.size());
    for (const size_t cut : {0, 1, 4096, 20'000, 39'999, 40'000}) {
        const uint32_t head = crc32c(bytes.data(), cut);
        const uint32_t tail = crc32c(bytes.data() + cut, bytes.size() - cut);
        CHECK(crc32c_combine(head, tail, bytes.size() - cut) == whole);
    }
}

TEST_CASE("PartsInAnyOrderGiveTheWhole") {
    const std::vector<uint8_t> bytes = random_bytes(30'000);
    uint32_t sum = 0;
    for (const size_t first : {20'000, 0, 10'000}) {
        sum ^= crc32c_combine(crc32c(bytes.data() + first, 10'000), 0, bytes.size() - first - 10'000);
    }
    CHECK(sum == crc32c(bytes.data(), bytes.size()));
}

TEST_CASE("AFlippedBitChangesTheChecksum") {
    std::vector<uint8_t> bytes = random_bytes(5000);
    const uint32_t before = crc32c(bytes.data(), bytes.size());
    for (const size_t bit : {0, 1, 12'345, 39'999}) {
        bytes[bit / 8] = static_cast<uint8_t>(bytes[bit / 8] ^ (1U << (bit % 8)));
        CHECK(crc32c(bytes.data(), bytes.size()) != before);
        bytes[bit / 8] = static_cast<uint8_t>(bytes[bit / 8] ^ (1U << (bit % 8)));
    }
}

}  // namespace edgemoe::test
