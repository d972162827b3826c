// What a packed file has beside what every GGUF file has: names of experts' matrices, keys and the header's checksum.
// docs/packed.md describes it for others.
#pragma once

#include "base/expert_id.h"
#include "base/status.h"
#include "storage/file.h"

#include "gguf.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace edgemoe {

// Every key of ours begins so; llama.cpp is not given them.
constexpr const char * kPackedPrefix = "edgemoe.packed.";

constexpr uint32_t kPackedVersion = 1;
constexpr uint32_t kPackedAlignment = 4096;

constexpr const char * kVersionKey = "edgemoe.packed.version";      // uint32
constexpr const char * kChecksumsKey = "edgemoe.packed.checksums";  // uint32[]: CRC-32C of each matrix, in the
                                                                    // order of the matrices in the header
constexpr const char * kHeaderChecksumKey = "edgemoe.packed.header_checksum";  // uint32: CRC-32C of all bytes before
                                                                               // the tensors' data, these four as zeros

// "blk.L.ffn_{gate,up,gate_up,down}_exps.E.weight"
std::string packed_tensor_name(ExpertId id, Projection projection);
bool parse_packed_tensor_name(const char * name, ExpertId * id, Projection * projection);

// True if anything in the header is of a packed file's kind, also when it is damaged.
bool looks_packed(const gguf_context * gguf);

// Removes the keys that describe a file, not a model: splits, alignment and kPackedPrefix.
void remove_file_keys(gguf_context * gguf);

// Puts its checksum into the header of a packed file, which has kHeaderChecksumKey.
void seal_header(std::vector<std::byte> * header);

// kFormat if the header of `file`, of which `gguf` was read, is of another version or not as it was written.
Status check_packed_header(const File & file, const gguf_context * gguf);

}  // namespace edgemoe
