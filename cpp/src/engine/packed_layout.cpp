// Invariant: every value of the header that is known at the end only has an entry of its final length from the start.
#include "engine/packed_layout.h"

#include "engine/map_file.h"
#include "engine/packed_format.h"
#include "engine/packed_results.h"

#include "ggml.h"

#include <utility>

namespace edgemoe {

namespace {

bool can_hold(int32_t type, int64_t columns) {
    if (type < 0 || type >= GGML_TYPE_COUNT) {
        return false;
    }
    const int64_t block = ggml_blck_size(static_cast<ggml_type>(type));
    return block > 0 && columns % block == 0;
}

}  // namespace

PackedTypes stored_types(const ExpertIndex & experts) {
    PackedTypes types;
    for (const ExpertLayer & layer : experts.layers()) {
        std::vector<ExpertTypes> & of_layer = types.emplace_back();
        for (const ExpertParts & parts : layer.experts) {
            ExpertTypes & of_expert = of_layer.emplace_back();
            for (size_t p = 0; p < kProjectionCount; p++) {
                of_expert[p] = parts[p].present ? parts[p].type : kNoType;
            }
        }
    }
    return types;
}

Result<PackedLayout> PackedLayout::create(const GgufSource & source, const PackedTypes & types,
                                          const std::vector<GgufKeyValue> & extra, const ExpertMaps * maps) {
    const std::vector<ExpertLayer> & layers = source.experts().layers();
    if (layers.empty()) {
        return Status(StatusCode::kInvalidArgument,
                      source.path() + ": a dense model: it has no experts that could be packed");
    }
    if (types.size() != layers.size()) {
        return Status(StatusCode::kInvalidArgument, source.path() + ": types of " + std::to_string(types.size()) +
                                                        " layers for " + std::to_string(layers.size()));
    }
    PackedLayout layout(GgufHeader(source.metadata(), kPackedAlignment));
    for (size_t i = 0; i < source.tensors().size(); i++) {
        const GgufSource::Tensor & tensor = source.tensors()[i];
        Place & place = layout.hot_.emplace_back();
        if (!tensor.expert) {
            const ggml_tensor & shape = *source.shape(i);
            const std::vector<int64_t> dims(shape.ne, shape.ne + ggml_n_dims(&shape));
            place.offset = layout.header_.add_tensor(tensor.name, tensor.type, dims);
            place.bytes = tensor.bytes;
        }
    }
    for (size_t i = 0; maps != nullptr && i < maps->layers.size(); i++) {
        const LayerMap & map = maps->layers[i];
        Place & place = layout.maps_.emplace_back();
        place.offset = layout.header_.add_tensor(map_tensor_name(map.layer), kMapType, {map.n_columns(), map.n_rows()});
        place.bytes = map.weights.size();
    }
    for (size_t i = 0; i < layers.size(); i++) {
        if (types[i].size() != layers[i].experts.size()) {
            return Status(StatusCode::kInvalidArgument,
                          source.path() + ": types of " + std::to_string(types[i].size()) + " experts for the " +
                              std::to_string(layers[i].experts.size()) + " of blk." + std::to_string(layers[i].layer));
        }
        for (size_t expert = 0; expert < types[i].size(); expert++) {
            const ExpertId id = {layers[i].layer, static_cast<int32_t>(expert)};
            const Status status = layout.add_expert(id, layers[i].experts[expert], types[i][expert], source.path());
            if (!status.is_ok()) {
                return status;
            }
        }
    }
    for (const GgufKeyValue & entry : extra) {
        layout.header_.set(entry);
    }
    for (const GgufKeyValue & entry : map_entries(maps != nullptr ? *maps : ExpertMaps(), kPackedPrefix)) {
        layout.header_.set(entry);
    }
    layout.header_.set({kVersionKey, kPackedVersion});
    layout.header_.set({kChecksumsKey, std::vector<uint32_t>(layout.n_matrices_)});
    for (const GgufKeyValue & entry : to_key_values(PackedResults{})) {
        layout.header_.set(entry);
    }
    layout.header_.set({kHeaderChecksumKey, uint32_t{0}});

    layout.header_bytes_ = layout.header_.bytes().size();
    for (std::vector<Place> * places : {&layout.hot_, &layout.maps_}) {
        for (Place & place : *places) {
            place.offset += layout.header_bytes_;
        }
    }
    for (auto & [id, places] : layout.experts_) {
        for (Place & place : places) {
            place.offset += layout.header_bytes_;
        }
    }
    return layout;
}

Status PackedLayout::add_expert(ExpertId id, const ExpertParts & parts, const ExpertTypes & types,
                                const std::string & path) {
    ExpertPlaces & places = experts_[id];
    for (size_t p = 0; p < kProjectionCount; p++) {
        const std::string name = packed_tensor_name(id, static_cast<Projection>(p));
        if (!parts[p].present) {
            if (types[p] != kNoType) {
                return Status(StatusCode::kInvalidArgument, path + ": a type for " + name + ", which is not there");
            }
            continue;
        }
        if (!can_hold(types[p], parts[p].columns)) {
            const bool known = types[p] >= 0 && types[p] < GGML_TYPE_COUNT;
            return Status(StatusCode::kInvalidArgument,
                          path + ": " + name + ": its rows of " + std::to_string(parts[p].columns) + " cannot be of " +
                              (known ? ggml_type_name(static_cast<ggml_type>(types[p])) : "an unknown type"));
        }
        places[p].offset = header_.add_tensor(name, types[p], {parts[p].columns, parts[p].rows});
        places[p].bytes =
            ggml_row_size(static_cast<ggml_type>(types[p]), parts[p].columns) * static_cast<uint64_t>(parts[p].rows);
        places[p].matrix = n_matrices_++;
    }
    return Status::ok();
}

const PackedLayout::ExpertPlaces * PackedLayout::find(ExpertId id) const {
    const auto found = experts_.find(id);
    return found == experts_.end() ? nullptr : &found->second;
}

}  // namespace edgemoe
