#include "engine/map_file.h"

#include "engine/gguf_header.h"
#include "engine/log.h"
#include "storage/file.h"

#include "ggml.h"
#include "gguf.h"

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <memory>

namespace edgemoe {

namespace {

constexpr size_t kTargetNumbers = 3;  // of LayerMap::Target
const std::string kTensorSuffix = ".profile.map";

Status damaged(const std::string & path) {
    return Status(StatusCode::kFormat,
                  path + ": the maps that predict experts are not as they should be; make it again");
}

// Empty if there is no such array.
std::vector<int32_t> numbers(const gguf_context * gguf, const std::string & key) {
    const int64_t id = gguf_find_key(gguf, key.c_str());
    if (id < 0 || gguf_get_kv_type(gguf, id) != GGUF_TYPE_ARRAY || gguf_get_arr_type(gguf, id) != GGUF_TYPE_INT32) {
        return {};
    }
    const auto * data = static_cast<const int32_t *>(gguf_get_arr_data(gguf, id));
    return std::vector<int32_t>(data, data + gguf_get_arr_n(gguf, id));
}

// Of every block of its weights: what is multiplied by one that is not gives no number. ggml_validate_row_data() would
// tell as well, but writes to standard error.
bool has_finite_scales(const LayerMap & map) {
    static_assert(kMapType == GGML_TYPE_Q8_0);  // a scale in half precision, then integers
    constexpr uint16_t kExponent = 0x7C00;      // all of its bits: infinite, or not a number
    const size_t block_bytes = ggml_type_size(static_cast<ggml_type>(kMapType));
    for (size_t at = 0; at < map.weights.size(); at += block_bytes) {
        uint16_t scale = 0;
        std::memcpy(&scale, map.weights.data() + at, sizeof(scale));
        if ((scale & kExponent) == kExponent) {
            return false;
        }
    }
    return true;
}

Status read_weights(const File & file, const gguf_context * gguf, LayerMap * map) {
    const int64_t tensor = gguf_find_tensor(gguf, map_tensor_name(map->layer).c_str());
    const uint64_t bytes = map->weight_bytes();
    if (tensor < 0 || gguf_get_tensor_type(gguf, tensor) != static_cast<ggml_type>(kMapType) ||
        gguf_get_tensor_size(gguf, tensor) != bytes) {
        return damaged(file.path());
    }
    const uint64_t offset = gguf_get_data_offset(gguf) + gguf_get_tensor_offset(gguf, tensor);
    if (offset > file.size_bytes() || bytes > file.size_bytes() - offset) {
        return damaged(file.path());
    }
    map->weights.resize(bytes);
    if (Status status = file.read(offset, bytes, map->weights.data()); !status.is_ok()) {
        return status;
    }
    return has_finite_scales(*map) ? Status::ok() : damaged(file.path());
}

}  // namespace

std::string map_tensor_name(int32_t layer) {
    return "blk." + std::to_string(layer) + kTensorSuffix;
}

bool is_map_tensor_name(const std::string & name) {
    return name.size() > kTensorSuffix.size() &&
           name.compare(name.size() - kTensorSuffix.size(), kTensorSuffix.size(), kTensorSuffix) == 0;
}

std::vector<GgufKeyValue> map_entries(const ExpertMaps & maps, const std::string & prefix) {
    if (maps.empty()) {
        return {};
    }
    std::vector<int32_t> layers, inputs, experts, targets;
    for (const LayerMap & map : maps.layers) {
        layers.push_back(map.layer);
        inputs.push_back(map.n_input);
        experts.push_back(map.n_experts);
        for (const LayerMap::Target & target : map.targets) {
            targets.insert(targets.end(), {target.layer, target.n_experts, target.n_used});
        }
    }
    return {{prefix + "map.layers", layers},
            {prefix + "map.inputs", inputs},
            {prefix + "map.experts", experts},
            {prefix + "map.targets", targets}};
}

Result<ExpertMaps> read_maps(const std::string & path, const std::string & prefix, MapContent content) {
    std::error_code ignored;
    if (!std::filesystem::exists(path, ignored)) {
        return Status(StatusCode::kNotFound, path + ": No such file or directory");
    }
    ErrorCapture errors;
    const Gguf gguf(gguf_init_from_file(path.c_str(), {/*no_alloc=*/true, nullptr}));
    if (gguf == nullptr) {
        return Status(StatusCode::kFormat, path + ": damaged or truncated header: " + errors.first());
    }
    const std::vector<int32_t> layers = numbers(gguf.get(), prefix + "map.layers");
    const std::vector<int32_t> inputs = numbers(gguf.get(), prefix + "map.inputs");
    const std::vector<int32_t> experts = numbers(gguf.get(), prefix + "map.experts");
    const std::vector<int32_t> targets = numbers(gguf.get(), prefix + "map.targets");
    ExpertMaps maps;
    if (layers.empty()) {
        return maps;
    }
    constexpr size_t kTargetsOfMap = kTargetNumbers * static_cast<size_t>(kMapDistances);
    if (inputs.size() != layers.size() || experts.size() != layers.size() ||
        targets.size() != layers.size() * kTargetsOfMap) {
        return damaged(path);
    }
    for (size_t i = 0; i < layers.size(); i++) {
        LayerMap map;
        map.layer = layers[i];
        map.n_input = inputs[i];
        map.n_experts = experts[i];
        for (size_t d = 0; d < map.targets.size(); d++) {
            const int32_t * target = targets.data() + i * kTargetsOfMap + d * kTargetNumbers;
            map.targets[d] = {target[0], target[1], target[2]};
        }
        maps.layers.push_back(std::move(map));
    }
    if (!maps.has_possible_shapes()) {
        return damaged(path);
    }
    if (content == MapContent::kShapes) {
        return maps;
    }
    const Result<std::shared_ptr<const File>> file = File::open(path, false);
    if (!file.is_ok()) {
        return file.status();
    }
    for (LayerMap & map : maps.layers) {
        const Status status = read_weights(*file.value(), gguf.get(), &map);
        if (!status.is_ok()) {
            return status;
        }
    }
    return maps;
}

}  // namespace edgemoe
