// UTF-8 at the edges: what users give is checked, what models give is completed.
#pragma once

#include <cstddef>
#include <string>

namespace edgemoe {

// The position of the first byte that is not UTF-8 (RFC 3629), or `size` if all is.
size_t find_invalid_utf8(const char * text, size_t size);

// Takes from the front of *bytes what can be shown: complete characters, and U+FFFD for bytes that cannot become one.
// An incomplete character at the end stays, unless `last`.
std::string take_complete_utf8(std::string * bytes, bool last);

}  // namespace edgemoe
