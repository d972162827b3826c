// The model as llama.cpp is to see it: one GGUF stream whose header is synthesized, whose hot tensors are read from
// where they really are, and whose expert tensors are read from nowhere: no I/O, and no byte of their destination is
// touched.
//
// How nothing is read: llama.cpp seeks to a tensor, and reads no more than the stream has left behind the position that
// it is told. A seek to an expert tensor leads to the stream's end, where nothing is left.
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

    // Borrowed; positioned at the start by llama_model_load_from_file_ptr.
    FILE * stream() const { return stream_; }

    // Why reading failed; ok if it did not.
    const Status & status() const { return status_; }

private:
    struct Extent {
        uint64_t offset = 0;  // in the stream
        size_t tensor = 0;    // of the source
    };

    explicit VirtualGguf(const GgufSource & source) : source_(source) {}
    Status build_header();
    Status open_stream();
    int64_t read(char * buffer, size_t size);
    size_t extent_at(uint64_t position) const;  // REQUIRES: position >= header_.size()
    int64_t seek(int64_t offset, int whence);
    friend struct StreamFunctions;

    const GgufSource & source_;
    std::vector<uint8_t> header_;
    std::vector<char> buffer_;     // the C library's, for stream_
    std::vector<Extent> extents_;  // by rising offset
    uint64_t size_bytes_ = 0;
    uint64_t position_ = 0;
    FILE * stream_ = nullptr;
    Status status_;
};

}  // namespace edgemoe
