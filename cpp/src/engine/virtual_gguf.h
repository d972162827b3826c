// The model as llama.cpp is to see it: one GGUF stream with a synthesized header that describes all tensors of all
// files. A model that is laid out without memory is made from the header alone; one that llama.cpp loads by itself is
// given the hot weights too, from where they really are.
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
    enum class Content { kHeader, kHotWeights };
    static Result<std::unique_ptr<VirtualGguf>> create(const GgufSource & source, Content content);
    ~VirtualGguf();
    VirtualGguf(const VirtualGguf &) = delete;
    VirtualGguf & operator=(const VirtualGguf &) = delete;

    // Borrowed; positioned at the start by llama_model_load_from_file_ptr. As long as the file that it stands for;
    // reading what it does not have is an error. Where an expert would begin, seeking leads to the end: llama.cpp asks
    // how much is left, and reads nothing.
    FILE * stream() const { return stream_; }

    // Why reading failed; forgets it.
    Status take_failure();

private:
    VirtualGguf(const GgufSource & source, Content content) : source_(source), content_(content) {}
    // Where a tensor begins in the stream.
    struct Extent {
        uint64_t offset;
        size_t tensor;
    };
    void build_header();
    Status open_stream();
    int64_t read(char * buffer, size_t size);
    int64_t seek(int64_t offset, int whence);
    int64_t read_tensor(char * buffer, size_t size);
    const Extent * extent_at(uint64_t position) const;
    friend struct StreamFunctions;

    const GgufSource & source_;
    const Content content_;
    std::vector<uint8_t> header_;
    std::vector<Extent> extents_;  // by offset
    uint64_t size_bytes_ = 0;
    uint64_t position_ = 0;
    FILE * stream_ = nullptr;
    Status failure_;
};

}  // namespace edgemoe
