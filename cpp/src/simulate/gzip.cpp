// The bytes are foreign: every read of input, every distance and every table index is checked, and the output's length
// is bounded.
#include "simulate/gzip.h"

#include <array>
#include <cstddef>
#include <vector>

namespace edgemoe {
namespace {

constexpr size_t kLongestCode = 15;
constexpr size_t kWindowBytes = 32768;

// Bits of the input, the lowest of each byte first. Past the end it gives zeros and overrun() turns true.
class BitReader {
public:
    BitReader(std::string_view bytes, size_t at) : bytes_(bytes), at_(at) {}

    uint32_t take(unsigned n_bits) {
        while (n_held_ < n_bits) {
            const bool more = at_ < bytes_.size();
            overrun_ = overrun_ || !more;
            held_ |= static_cast<uint64_t>(more ? static_cast<uint8_t>(bytes_[at_++]) : 0) << n_held_;
            n_held_ += 8;
        }
        const auto bits = static_cast<uint32_t>(held_ & ((uint64_t{1} << n_bits) - 1));
        held_ >>= n_bits;
        n_held_ -= n_bits;
        return bits;
    }

    // Drops the rest of the byte that was begun. At most one byte is held: take() fetches no more than it gives.
    void align() {
        held_ = 0;
        n_held_ = 0;
    }

    size_t position() const { return at_; }
    bool overrun() const { return overrun_; }

private:
    std::string_view bytes_;
    size_t at_;
    uint64_t held_ = 0;
    unsigned n_held_ = 0;
    bool overrun_ = false;
};

// A canonical Huffman code (RFC 1951, section 3.2.2), read a bit at a time.
class HuffmanCode {
public:
    // By symbol, the length of its code; 0: unused. False if the lengths promise more codes than there are.
    bool build(const uint8_t * lengths, size_t n_symbols) {
        counts_.fill(0);
        for (size_t symbol = 0; symbol < n_symbols; ++symbol) {
            ++counts_[lengths[symbol]];
        }
        counts_[0] = 0;
        int32_t left = 1;
        std::array<size_t, kLongestCode + 2> first{};
        for (size_t length = 1; length <= kLongestCode; ++length) {
            left = 2 * left - counts_[length];
            if (left < 0) {
                return false;
            }
            first[length + 1] = first[length] + static_cast<size_t>(counts_[length]);
        }
        symbols_.assign(first[kLongestCode + 1], 0);
        for (size_t symbol = 0; symbol < n_symbols; ++symbol) {
            if (lengths[symbol] != 0) {
                symbols_[first[lengths[symbol]]++] = static_cast<uint16_t>(symbol);
            }
        }
        return true;
    }

    // The next symbol; -1 if the bits are no code.
    int32_t next(BitReader * bits) const {
        int32_t code = 0;
        int32_t first = 0;
        int32_t index = 0;
        for (size_t length = 1; length <= kLongestCode; ++length) {
            code |= static_cast<int32_t>(bits->take(1));
            if (code - first < counts_[length]) {
                return symbols_[static_cast<size_t>(index + code - first)];
            }
            index += counts_[length];
            first = (first + counts_[length]) << 1;
            code <<= 1;
        }
        return -1;
    }

private:
    std::array<int32_t, kLongestCode + 1> counts_{};
    std::vector<uint16_t> symbols_;
};

// RFC 1951, section 3.2.5.
constexpr std::array<uint16_t, 29> kLengthBase = {3,  4,  5,  6,  7,  8,  9,  10, 11,  13,  15,  17,  19,  23, 27,
                                                  31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258};
constexpr std::array<uint8_t, 29> kLengthBits = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2,
                                                 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0};
constexpr std::array<uint16_t, 30> kDistanceBase = {1,    2,    3,    4,    5,    7,    9,    13,    17,    25,
                                                    33,   49,   65,   97,   129,  193,  257,  385,   513,   769,
                                                    1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577};
constexpr std::array<uint8_t, 30> kDistanceBits = {0, 0, 0, 0, 1, 1, 2, 2,  3,  3,  4,  4,  5,  5,  6,
                                                   6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13};
constexpr std::array<uint8_t, 19> kCodeLengthOrder = {16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15};

uint32_t crc32(const char * data, size_t size) {
    static const std::array<uint32_t, 256> table = [] {
        std::array<uint32_t, 256> entries{};
        for (uint32_t i = 0; i < 256; ++i) {
            uint32_t value = i;
            for (int bit = 0; bit < 8; ++bit) {
                value = (value & 1) != 0 ? 0xEDB88320U ^ (value >> 1) : value >> 1;
            }
            entries[i] = value;
        }
        return entries;
    }();
    uint32_t crc = 0xFFFFFFFFU;
    for (size_t i = 0; i < size; ++i) {
        crc = table[(crc ^ static_cast<uint8_t>(data[i])) & 0xFF] ^ (crc >> 8);
    }
    return ~crc;
}

class Unpacker {
public:
    Unpacker(std::string_view packed, uint64_t most_bytes, const std::string & name)
        : packed_(packed), most_bytes_(most_bytes), name_(name) {}

    Result<std::string> run() {
        size_t at = 0;
        while (at < packed_.size()) {
            const Status status = unpack_member(&at);
            if (!status.is_ok()) {
                return status;
            }
        }
        return std::move(unpacked_);
    }

private:
    Status error(size_t at, const std::string & reason) const {
        return {StatusCode::kFormat, name_ + ": offset " + std::to_string(at) + ": " + reason};
    }
    Status truncated(size_t at) const { return error(at, "the gzip file ends too early; copy it again"); }
    Status damaged(size_t at) const { return error(at, "damaged gzip data; copy the file again"); }

    Status unpack_member(size_t * at) {
        size_t data = 0;
        Status status = skip_header(*at, &data);
        if (!status.is_ok()) {
            return status;
        }
        member_ = unpacked_.size();
        BitReader bits(packed_, data);
        bool last = false;
        while (!last) {
            last = bits.take(1) != 0;
            const uint32_t type = bits.take(2);
            status = type == 0   ? copy_stored(&bits)
                     : type == 1 ? inflate_fixed(&bits)
                     : type == 2 ? inflate_dynamic(&bits)
                                 : damaged(bits.position());
            if (bits.overrun()) {
                return truncated(bits.position());
            }
            if (!status.is_ok()) {
                return status;
            }
        }
        bits.align();
        const uint32_t crc = bits.take(16) | bits.take(16) << 16;
        const uint32_t size = bits.take(16) | bits.take(16) << 16;
        *at = bits.position();
        if (bits.overrun()) {
            return truncated(*at);
        }
        const size_t n_bytes = unpacked_.size() - member_;
        return crc == crc32(&unpacked_[member_], n_bytes) && size == static_cast<uint32_t>(n_bytes) ? Status::ok()
                                                                                                    : damaged(*at);
    }

    // RFC 1952, section 2.3.
    Status skip_header(size_t at, size_t * data) const {
        constexpr size_t kFixedBytes = 10;
        if (!is_gzip(packed_.substr(at))) {
            return damaged(at);
        }
        if (packed_.size() - at < kFixedBytes) {
            return truncated(packed_.size());
        }
        const auto flags = static_cast<uint8_t>(packed_[at + 3]);
        size_t end = at + kFixedBytes;
        if ((flags & 4U) != 0) {  // FEXTRA
            if (packed_.size() - end < 2) {
                return truncated(packed_.size());
            }
            end += 2U + static_cast<uint8_t>(packed_[end]) +
                   (static_cast<size_t>(static_cast<uint8_t>(packed_[end + 1])) << 8);
        }
        for (const unsigned text : {8U, 16U}) {  // FNAME, FCOMMENT
            if ((flags & text) != 0) {
                const size_t zero = end < packed_.size() ? packed_.find('\0', end) : std::string_view::npos;
                if (zero == std::string_view::npos) {
                    return truncated(packed_.size());
                }
                end = zero + 1;
            }
        }
        end += (flags & 2U) != 0 ? 2 : 0;  // FHCRC
        *data = end;
        return end <= packed_.size() ? Status::ok() : truncated(packed_.size());
    }

    bool has_room(size_t n_bytes) const { return unpacked_.size() + n_bytes <= most_bytes_; }
    Status too_large() const {
        return {StatusCode::kFormat, name_ + ": unpacks to more than " + std::to_string(most_bytes_) + " bytes"};
    }

    Status copy_stored(BitReader * bits) {
        bits->align();
        const uint32_t n_bytes = bits->take(16);
        if ((bits->take(16) ^ 0xFFFFU) != n_bytes) {
            return damaged(bits->position());
        }
        if (!has_room(n_bytes)) {
            return too_large();
        }
        for (uint32_t i = 0; i < n_bytes && !bits->overrun(); ++i) {
            unpacked_.push_back(static_cast<char>(bits->take(8)));
        }
        return Status::ok();
    }

    Status inflate_fixed(BitReader * bits) {
        std::array<uint8_t, 288> lengths{};
        for (size_t i = 0; i < lengths.size(); ++i) {
            lengths[i] = i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : 8;
        }
        std::array<uint8_t, 30> distances{};
        distances.fill(5);
        HuffmanCode literals;
        HuffmanCode distance_code;
        if (!literals.build(lengths.data(), lengths.size()) ||
            !distance_code.build(distances.data(), distances.size())) {
            return damaged(bits->position());
        }
        return inflate(bits, literals, distance_code);
    }

    Status inflate_dynamic(BitReader * bits) {
        const size_t n_literals = bits->take(5) + 257;
        const size_t n_distances = bits->take(5) + 1;
        const size_t n_lengths = bits->take(4) + 4;
        std::array<uint8_t, 19> code_lengths{};
        for (size_t i = 0; i < n_lengths; ++i) {
            code_lengths[kCodeLengthOrder[i]] = static_cast<uint8_t>(bits->take(3));
        }
        HuffmanCode length_code;
        if (!length_code.build(code_lengths.data(), code_lengths.size())) {
            return damaged(bits->position());
        }
        std::vector<uint8_t> lengths;
        while (lengths.size() < n_literals + n_distances && !bits->overrun()) {
            const int32_t symbol = length_code.next(bits);
            if (symbol < 0 || (symbol == 16 && lengths.empty())) {
                return damaged(bits->position());
            }
            if (symbol < 16) {
                lengths.push_back(static_cast<uint8_t>(symbol));
                continue;
            }
            const uint8_t repeated = symbol == 16 ? lengths.back() : 0;
            const size_t n_times = symbol == 16   ? 3 + bits->take(2)
                                   : symbol == 17 ? 3 + bits->take(3)
                                                  : 11 + bits->take(7);
            lengths.insert(lengths.end(), n_times, repeated);
        }
        HuffmanCode literals;
        HuffmanCode distance_code;
        if (lengths.size() != n_literals + n_distances || n_literals > 286 || n_distances > 30 ||
            !literals.build(lengths.data(), n_literals) || !distance_code.build(&lengths[n_literals], n_distances)) {
            return damaged(bits->position());
        }
        return inflate(bits, literals, distance_code);
    }

    Status inflate(BitReader * bits, const HuffmanCode & literals, const HuffmanCode & distances) {
        constexpr int32_t kEndOfBlock = 256;
        while (!bits->overrun()) {
            const int32_t symbol = literals.next(bits);
            if (symbol == kEndOfBlock) {
                return Status::ok();
            }
            if (symbol < 0) {
                return damaged(bits->position());
            }
            if (symbol < kEndOfBlock) {
                if (!has_room(1)) {
                    return too_large();
                }
                unpacked_.push_back(static_cast<char>(symbol));
                continue;
            }
            const auto length_index = static_cast<size_t>(symbol - kEndOfBlock - 1);
            if (length_index >= kLengthBase.size()) {
                return damaged(bits->position());
            }
            const size_t length = kLengthBase[length_index] + bits->take(kLengthBits[length_index]);
            const int32_t distance_index = distances.next(bits);
            if (distance_index < 0 || static_cast<size_t>(distance_index) >= kDistanceBase.size()) {
                return damaged(bits->position());
            }
            const auto i = static_cast<size_t>(distance_index);
            const size_t distance = kDistanceBase[i] + bits->take(kDistanceBits[i]);
            if (distance > unpacked_.size() - member_ || distance > kWindowBytes) {
                return damaged(bits->position());
            }
            if (!has_room(length)) {
                return too_large();
            }
            for (size_t copied = 0; copied < length; ++copied) {
                unpacked_.push_back(unpacked_[unpacked_.size() - distance]);
            }
        }
        return truncated(bits->position());
    }

    std::string_view packed_;
    uint64_t most_bytes_;
    const std::string & name_;
    std::string unpacked_;
    size_t member_ = 0;  // where the member that is being unpacked begins in unpacked_
};

}  // namespace

bool is_gzip(std::string_view bytes) {
    return bytes.substr(0, 3) == std::string_view("\x1f\x8b\x08", 3);
}

Result<std::string> unpack_gzip(std::string_view packed, uint64_t most_bytes, const std::string & name) {
    return Unpacker(packed, most_bytes, name).run();
}

}  // namespace edgemoe
