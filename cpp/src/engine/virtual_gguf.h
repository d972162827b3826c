// The model as llama.cpp is to see it: one GGUF stream with a synthesized header that describes all tensors of all
// files, and no tensor data. A model that is laid out without memory is made from the header alone.
#pragma once

#include "base/status.h"
#include "engine/gguf_source.h"

#include <cstdio>
#include <memory>
#include <vector>

namespace edgemoe {

// One thread at a time. REQUIRES: `source` outlives it.
class VirtualGguf {
public:
    static Result<std::unique_ptr<VirtualGguf>> create(const GgufSource & source);
    ~VirtualGguf();
    VirtualGguf(const VirtualGguf &) = delete;
    VirtualGguf & operator=(const VirtualGguf &) = delete;

    // Borrowed; positioned at the start by llama_model_load_from_file_ptr. As long as the file that it stands for;
    // reading behind the header is an error.
    FILE * stream() const { return stream_; }

private:
    explicit VirtualGguf(const GgufSource & source) : source_(source) {}
    void build_header();
    Status open_stream();
    int64_t read(char * buffer, size_t size);
    int64_t seek(int64_t offset, int whence);
    friend struct StreamFunctions;

    const GgufSource & source_;
    std::vector<uint8_t> header_;
    uint64_t size_bytes_ = 0;
    uint64_t position_ = 0;
    FILE * stream_ = nullptr;
};

}  // namespace edgemoe
