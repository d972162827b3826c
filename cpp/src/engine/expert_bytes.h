// Reads experts' matrices for offline jobs: packing, unpacking.
#pragma once

#include "base/status.h"
#include "engine/gguf_source.h"

#include <array>
#include <cstddef>
#include <vector>

namespace edgemoe {

// The matrices of an expert as ggml blocks, by Projection; empty where it has no such matrix.
using ExpertBytes = std::array<std::vector<std::byte>, kProjectionCount>;

// Reads a matrix as it is in its file, around the page cache, and compares it with the file's checksum if there is one.
// kIo or kFormat, naming file, layer, expert and projection. REQUIRES: the expert has it. Thread-safe.
Status read_matrix(const GgufSource & source, ExpertId id, Projection projection, std::vector<std::byte> * bytes);

// The same for all that the expert has.
Status read_expert(const GgufSource & source, ExpertId id, ExpertBytes * bytes);

}  // namespace edgemoe
