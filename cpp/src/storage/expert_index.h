// Where each expert's bytes are. Immutable after construction, thread-safe.
#pragma once

#include "base/expert_id.h"
#include "base/status.h"
#include "storage/file.h"

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace edgemoe {

// One matrix of one expert: `rows` rows of `row_bytes` bytes, contiguous in `file` at `offset`.
struct ExpertPart {
    bool present = false;
    uint32_t file = 0;                      // index into ExpertIndex::files()
    int32_t type = 0;                       // a ggml_type; storage does not interpret it
    uint64_t offset = 0;                    // bytes from the start of the file
    uint64_t bytes = 0;                     // rows * row_bytes
    int64_t columns = 0;                    // elements in a row: the matrix multiplies vectors of this length
    int64_t rows = 0;                       // length of the result
    std::optional<uint32_t> checksum = {};  // CRC-32C of the bytes, where the file keeps one
};

using ExpertParts = std::array<ExpertPart, kProjectionCount>;  // by Projection

// The experts of one layer. Every expert of a layer has the same projections; types may differ from expert to expert.
struct ExpertLayer {
    int32_t layer = 0;
    std::vector<ExpertParts> experts;  // by expert number
};

class ExpertIndex {
public:
    ExpertIndex() = default;
    ExpertIndex(std::vector<std::shared_ptr<const File>> files, std::vector<ExpertLayer> layers,
                int32_t n_experts_used);

    bool empty() const { return layers_.empty(); }
    const std::vector<std::shared_ptr<const File>> & files() const { return files_; }
    const std::vector<ExpertLayer> & layers() const {
        return layers_;
    }                                                           // layers that have experts, by rising layer number
    int32_t n_experts_used() const { return n_experts_used_; }  // top-k: experts per token and layer

    // REQUIRES: the id exists. nullptr from find() otherwise.
    const ExpertParts & parts(ExpertId id) const;
    const ExpertParts * find(ExpertId id) const;

    uint64_t expert_bytes(ExpertId id) const;  // sum over its parts
    uint64_t total_bytes() const { return total_bytes_; }
    uint64_t largest_expert_bytes() const { return largest_expert_bytes_; }
    uint64_t largest_part_bytes() const { return largest_part_bytes_; }
    uint64_t layer_working_set_bytes() const {
        return layer_working_set_bytes_;
    }  // max over layers: top-k largest experts
    uint64_t token_working_set_bytes() const { return token_working_set_bytes_; }  // sum over layers of the same
    size_t n_experts() const { return n_experts_; }

private:
    std::vector<std::shared_ptr<const File>> files_;
    std::vector<ExpertLayer> layers_;
    std::vector<int32_t> layer_position_;  // by layer number: index into layers_, or -1
    int32_t n_experts_used_ = 0;
    size_t n_experts_ = 0;
    uint64_t total_bytes_ = 0;
    uint64_t largest_expert_bytes_ = 0;
    uint64_t largest_part_bytes_ = 0;
    uint64_t layer_working_set_bytes_ = 0;
    uint64_t token_working_set_bytes_ = 0;
};

}  // namespace edgemoe
