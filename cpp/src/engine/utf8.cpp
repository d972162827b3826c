#include "engine/utf8.h"

#include <cstdint>

namespace edgemoe {

namespace {

// Bytes of the character at text[0], 0 if it is none, or -1 if it is cut off by the end but may become one.
int character_length(const char * text, size_t size) {
    const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
    const uint8_t lead = byte(0);
    if (lead < 0x80) {
        return 1;
    }
    const int length = lead >= 0xC2 && lead < 0xE0   ? 2
                       : lead >= 0xE0 && lead < 0xF0 ? 3
                       : lead >= 0xF0 && lead < 0xF5 ? 4
                                                     : 0;
    if (length == 0) {
        return 0;
    }
    for (int i = 1; i < length; i++) {
        if (static_cast<size_t>(i) >= size) {
            return -1;
        }
        uint8_t low = 0x80;
        uint8_t high = 0xBF;
        if (i == 1) {  // overlong forms, surrogates and numbers above U+10FFFF are refused by the second byte
            low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : low;
            high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : high;
        }
        if (byte(static_cast<size_t>(i)) < low || byte(static_cast<size_t>(i)) > high) {
            return 0;
        }
    }
    return length;
}

}  // namespace

size_t find_invalid_utf8(const char * text, size_t size) {
    size_t at = 0;
    while (at < size) {
        const int length = character_length(text + at, size - at);
        if (length <= 0) {
            return at;
        }
        at += static_cast<size_t>(length);
    }
    return size;
}

std::string take_complete_utf8(std::string * bytes, bool last) {
    std::string text;
    size_t at = 0;
    while (at < bytes->size()) {
        const int length = character_length(bytes->data() + at, bytes->size() - at);
        if (length > 0) {
            text.append(*bytes, at, static_cast<size_t>(length));
            at += static_cast<size_t>(length);
        } else if (length < 0 && !last) {
            break;
        } else {
            text += "\xEF\xBF\xBD";
            at++;
        }
    }
    bytes->erase(0, at);
    return text;
}

}  // namespace edgemoe
