// The GGUF file or files of a model: headers parsed and checked against the files, experts found. Reads no tensor data.
//
// A packed file (engine/packed_format.h) is presented as the stock file that it stands for: its tensors are stacks of
// experts under their standard names, of a nominal type and without a place in the file; where each expert's matrix
// really is, and its type, is in the ExpertIndex.
#pragma once

#include "base/status.h"
#include "engine/gguf_header.h"
#include "engine/packed_experts.h"
#include "storage/expert_index.h"
#include "storage/file.h"

#include "gguf.h"

#include <memory>
#include <string>
#include <vector>

struct ggml_context;

namespace edgemoe {

// Immutable after open(); thread-safe.
class GgufSource {
public:
    struct Tensor {
        std::string name;
        int32_t type = 0;  // ggml_type
        uint32_t file = 0;
        uint64_t offset = 0;  // from the start of the file
        uint64_t bytes = 0;
        bool expert = false;  // streamed
    };

    // Opens `path` and, for a split model, the other splits beside it. kNotFound, kIo, or kFormat with the reason.
    static Result<std::unique_ptr<GgufSource>> open(const std::string & path, bool want_direct);
    ~GgufSource();

    const std::string & path() const { return path_; }
    const std::vector<std::shared_ptr<const File>> & files() const { return files_; }
    const std::vector<Tensor> & tensors() const { return tensors_; }
    const ExpertIndex & experts() const { return experts_; }
    bool packed() const { return packed_; }
    uint64_t file_bytes() const;
    uint64_t hot_bytes() const;  // tensors that are not streamed
    bool direct_io() const;      // every file is read directly
    std::string direct_refusal() const;

    // Metadata. Integers of any GGUF integer type; the fallback where the key is absent or of another kind.
    std::string text(const std::string & key) const;
    int64_t integer(const std::string & key, int64_t fallback) const;
    // "ARCHITECTURE.suffix".
    int64_t architecture_integer(const std::string & suffix, int64_t fallback) const;
    std::string architecture() const { return text("general.architecture"); }

    const gguf_context * metadata() const { return headers_.front().gguf.get(); }
    // The tensor's shape as ggml describes it; owned by this object.
    const ggml_tensor * shape(size_t tensor) const { return shapes_[tensor]; }

private:
    struct GgmlDeleter {
        void operator()(ggml_context * context) const;
    };
    using Shapes = std::unique_ptr<ggml_context, GgmlDeleter>;
    struct Header {
        Gguf gguf;
        Shapes tensors;
    };

    GgufSource() = default;
    Status read_header(const std::string & path, bool want_direct);
    Status take_checksums(const gguf_context * gguf, const std::string & path);
    Status stack_packed_experts(PackedExperts * packed);
    Status check_names() const;
    Status find_experts();
    int64_t largest_experts_used() const;
    Status check_expert_counts(int64_t n_used) const;

    std::string path_;
    std::vector<std::shared_ptr<const File>> files_;
    std::vector<Header> headers_;
    std::vector<Tensor> tensors_;
    std::vector<const ggml_tensor *> shapes_;
    bool packed_ = false;
    std::vector<uint32_t> checksums_;  // of a packed file: a matrix each, in the header's order
    Shapes stacks_;                    // of a packed file: what is presented
    ExpertIndex experts_;
};

}  // namespace edgemoe
