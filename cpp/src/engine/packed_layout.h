// Where everything is in a packed file that is to be written, and its header.
#pragma once

#include "base/expert_id.h"
#include "base/status.h"
#include "engine/expert_maps.h"
#include "engine/gguf_header.h"
#include "engine/gguf_source.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

namespace edgemoe {

// ggml_type of each matrix of an expert, by Projection; kNoType where it has no such matrix.
constexpr int32_t kNoType = -1;
using ExpertTypes = std::array<int32_t, kProjectionCount>;

// types[i][e]: expert e of the i-th of ExpertIndex::layers().
using PackedTypes = std::vector<std::vector<ExpertTypes>>;

// The types that the experts have in their file.
PackedTypes stored_types(const ExpertIndex & experts);

// Immutable but for the header's values.
class PackedLayout {
public:
    struct Place {
        uint64_t offset = 0;  // in the file
        uint64_t bytes = 0;
        size_t matrix = 0;  // number of the matrix in the header's order; of an expert's only
    };
    using ExpertPlaces = std::array<Place, kProjectionCount>;  // bytes 0: no such matrix

    // Hot tensors first, then the maps (may be nullptr), then the experts by layer and number, the matrices of each in
    // the order in which they are used. `extra`: entries beside the source's own. kInvalidArgument if `types` does not
    // fit the source's experts.
    static Result<PackedLayout> create(const GgufSource & source, const PackedTypes & types,
                                       const std::vector<GgufKeyValue> & extra, const ExpertMaps * maps = nullptr);

    // By the source's tensor number; bytes 0: it is no hot tensor.
    const std::vector<Place> & hot() const { return hot_; }
    // By the number of the map.
    const std::vector<Place> & maps() const { return maps_; }
    // nullptr if there is no such expert.
    const ExpertPlaces * find(ExpertId id) const;
    size_t n_matrices() const { return n_matrices_; }
    uint64_t file_bytes() const { return header_bytes_ + header_.data_bytes(); }

    GgufHeader & header() { return header_; }
    uint64_t header_bytes() const { return header_bytes_; }  // fixed: values of its entries may change, not lengths

private:
    explicit PackedLayout(GgufHeader header) : header_(std::move(header)) {}
    Status add_expert(ExpertId id, const ExpertParts & parts, const ExpertTypes & types, const std::string & path);

    GgufHeader header_;
    uint64_t header_bytes_ = 0;
    std::vector<Place> hot_;
    std::vector<Place> maps_;
    std::map<ExpertId, ExpertPlaces> experts_;
    size_t n_matrices_ = 0;
};

}  // namespace edgemoe
