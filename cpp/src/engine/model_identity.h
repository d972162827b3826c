// Which model a file belongs to.
#pragma once

#include "base/status.h"
#include "engine/gguf_source.h"

#include <cstdint>
#include <string>

namespace edgemoe {

struct ModelIdentity {
    std::string architecture;
    std::string name;
    int32_t n_layers = 0;
    int32_t n_embd = 0;
    int32_t n_experts = 0;
    int32_t n_experts_used = 0;
    uint64_t file_bytes = 0;       // of all splits
    uint64_t header_checksum = 0;  // FNV-1a of the first file's header: metadata, tensor names, shapes and types

    static Result<ModelIdentity> of(const GgufSource & source);

    // The same file, as far as its header and size tell.
    bool same_file(const ModelIdentity & other) const;
    // The same network, perhaps in other types: its profile fits.
    bool same_network(const ModelIdentity & other) const;
};

// FNV-1a (64 bits), continued from `state`.
constexpr uint64_t kFnvStart = 0xcbf29ce484222325;
uint64_t fnv1a(uint64_t state, const void * data, size_t size);

}  // namespace edgemoe
