// Unpacks gzip files (RFC 1952, deflate of RFC 1951): traces are kept packed, and this needs no library for it.
// Pure; thread-safe.
#pragma once

#include "base/status.h"

#include <cstdint>
#include <string>
#include <string_view>

namespace edgemoe {

bool is_gzip(std::string_view bytes);

// The contents of all members of `packed`, one after the other. On failure: kFormat for what is truncated, damaged
// (each member's checksum and length are compared) or larger than `most_bytes`; `name` is for the message.
Result<std::string> unpack_gzip(std::string_view packed, uint64_t most_bytes, const std::string & name);

}  // namespace edgemoe
