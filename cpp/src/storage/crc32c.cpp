// Polynomials over GF(2) are 32-bit words with the coefficient of x^31 in the lowest bit, as the instruction has them.
#include "storage/crc32c.h"

#include <array>
#include <cstring>

#if defined(__x86_64__)
#include <nmmintrin.h>
#elif defined(__ARM_FEATURE_CRC32)
#include <arm_acle.h>
#endif

namespace edgemoe {
namespace {

constexpr uint32_t kPolynomial = 0x82F63B78;

// kTables[k][b]: the remainder of byte b followed by k zero bytes.
constexpr size_t kSlices = 8;
using Tables = std::array<std::array<uint32_t, 256>, kSlices>;

constexpr Tables make_tables() {
    Tables tables{};
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t remainder = byte;
        for (int bit = 0; bit < 8; bit++) {
            remainder = (remainder >> 1) ^ ((remainder & 1) != 0 ? kPolynomial : 0);
        }
        tables[0][byte] = remainder;
    }
    for (size_t k = 1; k < kSlices; k++) {
        for (size_t byte = 0; byte < 256; byte++) {
            const uint32_t before = tables[k - 1][byte];
            tables[k][byte] = (before >> 8) ^ tables[0][before & 0xFF];
        }
    }
    return tables;
}

constexpr Tables kTables = make_tables();

uint64_t load_word(const unsigned char * data) {
    uint64_t word = 0;
    std::memcpy(&word, data, sizeof(word));
    return word;
}

uint32_t extend_portable(uint32_t state, const unsigned char * data, size_t bytes) {
    for (; bytes >= kSlices; bytes -= kSlices, data += kSlices) {
        const uint64_t word = load_word(data) ^ state;  // GGUF files, and so the machines, are little-endian
        state = 0;
        for (size_t k = 0; k < kSlices; k++) {
            state ^= kTables[kSlices - 1 - k][(word >> (8 * k)) & 0xFF];
        }
    }
    for (; bytes > 0; bytes--, data++) {
        state = (state >> 8) ^ kTables[0][(state ^ *data) & 0xFF];
    }
    return state;
}

#if defined(__x86_64__)

bool has_instruction() {
    return __builtin_cpu_supports("sse4.2") != 0;
}

__attribute__((target("sse4.2"))) uint32_t extend_word(uint32_t state, const unsigned char * data) {
    return static_cast<uint32_t>(_mm_crc32_u64(state, load_word(data)));
}

#define EDGEMOE_CRC_TARGET __attribute__((target("sse4.2")))

#elif defined(__ARM_FEATURE_CRC32)

bool has_instruction() {
    return true;
}

uint32_t extend_word(uint32_t state, const unsigned char * data) {
    return __crc32cd(state, load_word(data));
}

#define EDGEMOE_CRC_TARGET

#else

bool has_instruction() {
    return false;
}

uint32_t extend_word(uint32_t state, const unsigned char * data) {
    return extend_portable(state, data, sizeof(uint64_t));
}

#define EDGEMOE_CRC_TARGET

#endif

// The instruction takes three cycles and starts every cycle: three thirds at once.
constexpr size_t kWorthThree = 16 * 1024;

EDGEMOE_CRC_TARGET uint32_t crc32c_fast(const unsigned char * data, size_t bytes) {
    uint32_t first = ~uint32_t{0};
    const size_t third = bytes < kWorthThree ? 0 : bytes / 3 / sizeof(uint64_t) * sizeof(uint64_t);
    if (third > 0) {
        uint32_t second = ~uint32_t{0};
        uint32_t last = ~uint32_t{0};
        for (size_t i = 0; i < third; i += sizeof(uint64_t)) {
            first = extend_word(first, data + i);
            second = extend_word(second, data + third + i);
            last = extend_word(last, data + 2 * third + i);
        }
        first = ~crc32c_combine(crc32c_combine(~first, ~second, third), ~last, third);
        data += 3 * third;
        bytes -= 3 * third;
    }
    for (; bytes >= sizeof(uint64_t); bytes -= sizeof(uint64_t), data += sizeof(uint64_t)) {
        first = extend_word(first, data);
    }
    return ~extend_portable(first, data, bytes);
}

// a * b modulo the polynomial.
uint32_t multiply(uint32_t a, uint32_t b) {
    uint32_t product = 0;
    for (uint32_t bit = uint32_t{1} << 31; bit != 0; bit >>= 1) {
        product ^= (a & bit) != 0 ? b : 0;
        b = (b >> 1) ^ ((b & 1) != 0 ? kPolynomial : 0);
    }
    return product;
}

}  // namespace

uint32_t crc32c(const void * data, size_t bytes) {
    static const bool fast = has_instruction();
    const auto * first = static_cast<const unsigned char *>(data);
    return fast ? crc32c_fast(first, bytes) : crc32c_portable(data, bytes);
}

uint32_t crc32c_portable(const void * data, size_t bytes) {
    return ~extend_portable(~uint32_t{0}, static_cast<const unsigned char *>(data), bytes);
}

// A followed by n zero bytes is A times x^(8n); the ones before and after cancel out.
uint32_t crc32c_combine(uint32_t a, uint32_t b, uint64_t b_bytes) {
    uint32_t power = uint32_t{1} << 23;  // x^8
    for (; b_bytes != 0; b_bytes >>= 1) {
        if ((b_bytes & 1) != 0) {
            a = multiply(power, a);
        }
        power = multiply(power, power);
    }
    return a ^ b;
}

}  // namespace edgemoe
