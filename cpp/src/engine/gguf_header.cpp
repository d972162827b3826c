#include "engine/gguf_header.h"

#include "base/checked.h"
#include "engine/packed_format.h"

#include "ggml.h"

#include <cassert>
#include <cstring>

namespace edgemoe {

namespace {

// Magic and version, then the number of tensors (gguf.h).
constexpr size_t kTensorCountOffset = 8;

template <typename Value>
void append(std::vector<std::byte> * bytes, const Value & value) {
    const auto * first = reinterpret_cast<const std::byte *>(&value);
    bytes->insert(bytes->end(), first, first + sizeof(value));
}

}  // namespace

GgufHeader::GgufHeader(const gguf_context * metadata, uint32_t alignment)
    : metadata_(gguf_init_empty()), alignment_(alignment) {
    gguf_set_kv(metadata_.get(), metadata);
    remove_file_keys(metadata_.get());
    if (alignment != GGUF_DEFAULT_ALIGNMENT) {
        gguf_set_val_u32(metadata_.get(), GGUF_KEY_GENERAL_ALIGNMENT, alignment);
    }
}

uint64_t GgufHeader::add_tensor(const std::string & name, int32_t type, const std::vector<int64_t> & dims) {
    append(&tensors_, static_cast<uint64_t>(name.size()));
    const auto * text = reinterpret_cast<const std::byte *>(name.data());
    tensors_.insert(tensors_.end(), text, text + name.size());
    append(&tensors_, static_cast<uint32_t>(dims.size()));
    uint64_t bytes = ggml_row_size(static_cast<ggml_type>(type), dims.front());
    for (size_t i = 0; i < dims.size(); i++) {
        append(&tensors_, dims[i]);
        bytes *= i == 0 ? 1 : static_cast<uint64_t>(dims[i]);
    }
    append(&tensors_, type);
    const uint64_t offset = data_bytes_;
    append(&tensors_, offset);
    data_bytes_ += align_up(bytes, alignment_);
    n_tensors_++;
    return offset;
}

std::vector<std::byte> GgufHeader::bytes() const {
    std::vector<std::byte> bytes(gguf_get_meta_size(metadata_.get()));
    gguf_get_meta_data(metadata_.get(), bytes.data());
    // ggml pads the metadata; where they end is what it finds when it reads them.
    const Gguf parsed(gguf_init_from_buffer(bytes.data(), bytes.size(), {/*no_alloc=*/true, nullptr}));
    assert(parsed != nullptr && "ggml reads what it wrote");
    bytes.resize(gguf_get_data_offset(parsed.get()));
    std::memcpy(bytes.data() + kTensorCountOffset, &n_tensors_, sizeof(n_tensors_));
    bytes.insert(bytes.end(), tensors_.begin(), tensors_.end());
    bytes.resize(align_up(bytes.size(), alignment_));
    return bytes;
}

}  // namespace edgemoe
