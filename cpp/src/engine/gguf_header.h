// The header of a GGUF file that is to be written: metadata by ggml's API; the list of tensors here, because
// gguf_add_tensor looks each new name up among all before it, and a packed file has tens of thousands.
#pragma once

#include "engine/gguf_key_value.h"

#include "gguf.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace edgemoe {

struct GgufDeleter {
    void operator()(gguf_context * context) const { gguf_free(context); }
};
using Gguf = std::unique_ptr<gguf_context, GgufDeleter>;

// Not thread-safe.
class GgufHeader {
public:
    // Begins with the entries of `metadata`, without those that describe its file alone: splits, alignment, and ours
    // (kPackedPrefix). `alignment`: of the tensors' data, a power of two.
    GgufHeader(const gguf_context * metadata, uint32_t alignment);

    void set(const GgufKeyValue & entry) { set_key_value(metadata_.get(), entry); }

    // Returns where the tensor's data begin, from the start of all data. `dims`: as ggml's ne, up to four.
    uint64_t add_tensor(const std::string & name, int32_t type, const std::vector<int64_t> & dims);

    // The header as it is in the file, padded to the alignment: the data follow.
    std::vector<std::byte> bytes() const;
    uint64_t data_bytes() const { return data_bytes_; }  // of all tensors, padded

private:
    Gguf metadata_;
    uint32_t alignment_;
    int64_t n_tensors_ = 0;
    uint64_t data_bytes_ = 0;
    std::vector<std::byte> tensors_;  // their entries
};

}  // namespace edgemoe
