#include "engine/json_text.h"

#include <array>
#include <cmath>
#include <cstdio>

namespace edgemoe {

std::string quoted(const std::string & text) {
    std::string json = "\"";
    for (const char c : text) {
        if (c == '"' || c == '\\') {
            json += '\\';
            json += c;
        } else if (static_cast<unsigned char>(c) < 0x20) {
            std::array<char, 8> code{};
            static_cast<void>(std::snprintf(code.data(), code.size(), "\\u%04x", static_cast<unsigned>(c)));
            json += code.data();
        } else {
            json += c;
        }
    }
    return json + '"';
}

std::string number(double value) {
    if (!std::isfinite(value)) {
        return "null";
    }
    std::array<char, 32> text{};
    static_cast<void>(std::snprintf(text.data(), text.size(), "%.9g", value));
    return text.data();
}

}  // namespace edgemoe
