#include "engine/model_identity.h"

#include <algorithm>
#include <vector>

namespace edgemoe {

uint64_t fnv1a(uint64_t state, const void * data, size_t size) {
    const auto * bytes = static_cast<const unsigned char *>(data);
    for (size_t i = 0; i < size; i++) {
        state = (state ^ bytes[i]) * 0x100000001b3;
    }
    return state;
}

Result<ModelIdentity> ModelIdentity::of(const GgufSource & source) {
    ModelIdentity identity;
    identity.architecture = source.architecture();
    identity.name = source.text("general.name");
    identity.n_layers = static_cast<int32_t>(source.architecture_integer("block_count", 0));
    identity.n_embd = static_cast<int32_t>(source.architecture_integer("embedding_length", 0));
    identity.n_experts = static_cast<int32_t>(source.architecture_integer("expert_count", 0));
    identity.n_experts_used = source.experts().n_experts_used();
    identity.file_bytes = source.file_bytes();
    identity.header_checksum = kFnvStart;
    const File & file = *source.files().front();
    const uint64_t end = std::min<uint64_t>(gguf_get_data_offset(source.metadata()), file.size_bytes());
    std::vector<char> bytes(1 << 20);
    for (uint64_t offset = 0; offset < end; offset += bytes.size()) {
        const auto n = static_cast<size_t>(std::min<uint64_t>(bytes.size(), end - offset));
        const Status status = file.read(offset, n, bytes.data());
        if (!status.is_ok()) {
            return status;
        }
        identity.header_checksum = fnv1a(identity.header_checksum, bytes.data(), n);
    }
    return identity;
}

bool ModelIdentity::same_file(const ModelIdentity & other) const {
    return same_network(other) && file_bytes == other.file_bytes && header_checksum == other.header_checksum;
}

bool ModelIdentity::same_network(const ModelIdentity & other) const {
    return architecture == other.architecture && n_layers == other.n_layers && n_embd == other.n_embd &&
           n_experts == other.n_experts && n_experts_used == other.n_experts_used;
}

}  // namespace edgemoe
