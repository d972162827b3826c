#include "engine/gguf_source.h"

#include "backend/expert_buffer_type.h"
#include "base/checked.h"
#include "engine/log.h"
#include "engine/map_file.h"
#include "engine/packed_format.h"

#include "ggml.h"
#include "llama-hparams.h"
#include "llama.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <set>

namespace edgemoe {

namespace {

// llama.cpp's own bounds: a hostile header is refused here, before tables are sized by it.
constexpr int64_t kMostLayers = LLAMA_MAX_LAYERS;
constexpr int64_t kMostExperts = LLAMA_MAX_EXPERTS;

std::string expert_tensor(int32_t layer, Projection projection) {
    return "blk." + std::to_string(layer) + ".ffn_" + projection_name(projection) + "_exps.weight";
}

}  // namespace

void GgufSource::GgmlDeleter::operator()(ggml_context * context) const {
    ggml_free(context);
}

GgufSource::~GgufSource() = default;

Result<std::unique_ptr<GgufSource>> GgufSource::open(const std::string & path, bool want_direct) {
    std::unique_ptr<GgufSource> source(new GgufSource());
    source->path_ = path;
    Status status = source->read_header(path, want_direct);
    if (!status.is_ok()) {
        return status;
    }
    const int64_t n_splits = source->integer("split.count", 1);
    if (n_splits > 1) {
        if (source->integer("split.no", 0) != 0) {
            return Status(StatusCode::kFormat, path + ": is split " +
                                                   std::to_string(source->integer("split.no", 0) + 1) + " of " +
                                                   std::to_string(n_splits) + "; give the first one");
        }
        char prefix[4096] = {};
        if (n_splits > 100000 ||
            llama_split_prefix(prefix, sizeof(prefix), path.c_str(), 0, static_cast<int>(n_splits)) <= 0) {
            return Status(StatusCode::kFormat, path + ": the first of " + std::to_string(n_splits) +
                                                   " splits must be named NAME-00001-of-0000N.gguf");
        }
        for (int i = 1; i < n_splits; i++) {
            char name[4096] = {};
            llama_split_path(name, sizeof(name), prefix, i, static_cast<int>(n_splits));
            status = source->read_header(name, want_direct);
            if (!status.is_ok()) {
                return Status(status.code(), status.message() + " (split " + std::to_string(i + 1) + " of " +
                                                 std::to_string(n_splits) + ")");
            }
        }
    }
    status = source->find_experts();
    if (!status.is_ok()) {
        return status;
    }
    return source;
}

Status GgufSource::read_header(const std::string & path, bool want_direct) {
    Result<std::shared_ptr<const File>> file = File::open(path, want_direct);
    if (!file.is_ok()) {
        return file.status();
    }
    char magic[4] = {};
    if (file.value()->size_bytes() < 24) {
        return Status(StatusCode::kFormat,
                      path + ": truncated: " + std::to_string(file.value()->size_bytes()) + " bytes are no GGUF file");
    }
    Status status = file.value()->read(0, sizeof(magic), magic);
    if (!status.is_ok()) {
        return status;
    }
    if (std::memcmp(magic, "GGUF", 4) != 0) {
        return Status(StatusCode::kFormat, path + ": not a GGUF file (it does not begin with \"GGUF\")");
    }

    ErrorCapture errors;
    Header header;
    ggml_context * shapes = nullptr;
    header.gguf.reset(gguf_init_from_file(path.c_str(), {/*no_alloc=*/true, &shapes}));
    header.tensors.reset(shapes);
    if (header.gguf == nullptr) {
        const std::string reason = errors.first();
        return Status(StatusCode::kFormat,
                      path + ": damaged or truncated header" + (reason.empty() ? "" : ": " + reason));
    }
    if (looks_packed(header.gguf.get())) {
        packed_ = true;
        status = check_packed_header(*file.value(), header.gguf.get());
        if (status.is_ok()) {
            status = take_checksums(header.gguf.get(), path);
        }
        if (!status.is_ok()) {
            return status;
        }
    }
    file.value()->drop_page_cache();
    const auto file_number = static_cast<uint32_t>(files_.size());
    const uint64_t data_offset = gguf_get_data_offset(header.gguf.get());
    ggml_tensor * shape = ggml_get_first_tensor(shapes);
    for (int64_t i = 0; i < gguf_get_n_tensors(header.gguf.get()); i++) {
        Tensor tensor;
        tensor.name = gguf_get_tensor_name(header.gguf.get(), i);
        tensor.type = gguf_get_tensor_type(header.gguf.get(), i);
        tensor.file = file_number;
        tensor.bytes = gguf_get_tensor_size(header.gguf.get(), i);
        uint64_t end = 0;
        if (!checked_add(data_offset, gguf_get_tensor_offset(header.gguf.get(), i), &tensor.offset) ||
            !checked_add(tensor.offset, tensor.bytes, &end) || end > file.value()->size_bytes()) {
            return Status(StatusCode::kFormat, path + ": truncated: tensor " + tensor.name + " at offset " +
                                                   std::to_string(tensor.offset) + " needs " +
                                                   std::to_string(tensor.bytes) + " bytes, the file ends at " +
                                                   std::to_string(file.value()->size_bytes()) + "; download it again");
        }
        // What predicts experts is no part of the model that a packed file is presented as.
        if (!packed_ || !is_map_tensor_name(tensor.name)) {
            shapes_.push_back(shape);
            tensors_.push_back(std::move(tensor));
        }
        shape = ggml_get_next_tensor(shapes, shape);
    }
    files_.push_back(std::move(file).value());
    headers_.push_back(std::move(header));
    return Status::ok();
}

Status GgufSource::take_checksums(const gguf_context * gguf, const std::string & path) {
    const int64_t id = gguf_find_key(gguf, kChecksumsKey);
    if (id < 0 || gguf_get_kv_type(gguf, id) != GGUF_TYPE_ARRAY || gguf_get_arr_type(gguf, id) != GGUF_TYPE_UINT32) {
        return Status(StatusCode::kFormat, path + ": packed file without " + kChecksumsKey + "; pack the model again");
    }
    const auto * values = static_cast<const uint32_t *>(gguf_get_arr_data(gguf, id));
    checksums_.insert(checksums_.end(), values, values + gguf_get_arr_n(gguf, id));
    return Status::ok();
}

// Gathers the tensors of one matrix each, and puts stacks in their place.
Status GgufSource::stack_packed_experts(PackedExperts * packed) {
    std::vector<Tensor> tensors;
    std::vector<const ggml_tensor *> shapes;
    size_t n_matrices = 0;
    for (size_t i = 0; i < tensors_.size(); i++) {
        const Tensor & tensor = tensors_[i];
        ExpertId id;
        Projection projection = Projection::kGate;
        if (!parse_packed_tensor_name(tensor.name.c_str(), &id, &projection)) {
            tensors.push_back(tensor);
            shapes.push_back(shapes_[i]);
            continue;
        }
        const ggml_tensor & shape = *shapes_[i];
        if (id.layer >= kMostLayers || ggml_n_dims(&shape) > 2 || tensor.bytes == 0) {
            return Status(StatusCode::kFormat, path_ + ": tensor " + tensor.name + " has an impossible shape");
        }
        ExpertPart part;
        part.file = tensor.file;
        part.type = tensor.type;
        part.offset = tensor.offset;
        part.bytes = tensor.bytes;
        part.columns = shape.ne[0];
        part.rows = shape.ne[1];
        if (n_matrices < checksums_.size()) {
            part.checksum = checksums_[n_matrices];
        }
        n_matrices++;
        const Status status = packed->add(id, projection, part);
        if (!status.is_ok()) {
            return Status(status.code(), path_ + ": " + status.message());
        }
    }
    if (n_matrices != checksums_.size()) {
        return Status(StatusCode::kFormat, path_ + ": packed file of " + std::to_string(n_matrices) +
                                               " expert matrices with checksums of " +
                                               std::to_string(checksums_.size()) + "; pack the model again");
    }
    const Status status = packed->check_whole();
    if (!status.is_ok()) {
        return Status(status.code(), path_ + ": " + status.message());
    }
    stacks_.reset(ggml_init({packed->stacks().size() * ggml_tensor_overhead(), nullptr, /*no_alloc=*/true}));
    for (const auto & [key, stack] : packed->stacks()) {
        const ExpertPart & first = stack.front();
        const auto type = static_cast<ggml_type>(PackedExperts::nominal_type(stack));
        ggml_tensor * shape =
            ggml_new_tensor_3d(stacks_.get(), type, first.columns, first.rows, static_cast<int64_t>(stack.size()));
        Tensor tensor;
        tensor.name = expert_tensor(key.first, key.second);
        ggml_set_name(shape, tensor.name.c_str());
        tensor.type = type;
        tensor.bytes = ggml_nbytes(shape);
        tensors.push_back(std::move(tensor));
        shapes.push_back(shape);
    }
    tensors_ = std::move(tensors);
    shapes_ = std::move(shapes);
    return Status::ok();
}

// Two splits may have a tensor of the same name, and so may a stack and a tensor beside it.
Status GgufSource::check_names() const {
    std::set<std::string> names;
    for (const Tensor & tensor : tensors_) {
        if (!names.insert(tensor.name).second) {
            return Status(StatusCode::kFormat, path_ + ": tensor " + tensor.name + " is there twice");
        }
    }
    return Status::ok();
}

Status GgufSource::find_experts() {
    if (architecture().empty()) {
        return Status(StatusCode::kFormat, path_ + ": general.architecture is missing: not a model");
    }
    if (architecture_integer("block_count", 0) > kMostLayers ||
        architecture_integer("expert_count", 0) > kMostExperts) {
        return Status(StatusCode::kFormat, path_ + ": absurd block_count or expert_count in the header");
    }
    Status status;
    PackedExperts packed(architecture_integer("expert_count", 0));
    if (packed_) {
        status = stack_packed_experts(&packed);
        if (!status.is_ok()) {
            return status;
        }
    }
    status = check_names();
    if (!status.is_ok()) {
        return status;
    }
    std::map<int32_t, ExpertLayer> layers;
    std::map<int32_t, std::set<Projection>> found;
    std::set<Projection> in_model;
    for (size_t i = 0; i < tensors_.size(); i++) {
        Tensor & tensor = tensors_[i];
        int32_t layer = 0;
        Projection projection = Projection::kGate;
        if (!parse_expert_tensor_name(tensor.name.c_str(), &layer, &projection)) {
            continue;
        }
        const ggml_tensor * shape = shapes_[i];
        const int64_t n_experts = shape->ne[2];
        if (layer >= kMostLayers || n_experts < 1 || n_experts > kMostExperts || shape->ne[3] != 1 ||
            tensor.bytes == 0) {
            return Status(StatusCode::kFormat, path_ + ": tensor " + tensor.name + " has an impossible shape");
        }
        ExpertLayer & experts = layers[layer];
        experts.layer = layer;
        if (experts.experts.empty()) {
            experts.experts.resize(static_cast<size_t>(n_experts));
        } else if (experts.experts.size() != static_cast<size_t>(n_experts)) {
            return Status(StatusCode::kFormat, path_ + ": tensor " + tensor.name + " has " + std::to_string(n_experts) +
                                                   " experts, the layer's others have " +
                                                   std::to_string(experts.experts.size()));
        }
        const uint64_t bytes = tensor.bytes / static_cast<uint64_t>(n_experts);
        for (int64_t expert = 0; expert < n_experts; expert++) {
            ExpertPart & part = experts.experts[static_cast<size_t>(expert)][static_cast<size_t>(projection)];
            const auto stack = packed.stacks().find({layer, projection});
            if (stack != packed.stacks().end()) {
                part = stack->second[static_cast<size_t>(expert)];
                continue;
            }
            part.present = true;
            part.file = tensor.file;
            part.type = tensor.type;
            part.offset = tensor.offset + static_cast<uint64_t>(expert) * bytes;
            part.bytes = bytes;
            part.columns = shape->ne[0];
            part.rows = shape->ne[1];
        }
        tensor.expert = true;
        found[layer].insert(projection);
        in_model.insert(projection);
    }
    std::vector<ExpertLayer> ordered;
    for (auto & [number, layer] : layers) {
        const std::set<Projection> & has = found[number];
        const bool fused = has.count(Projection::kGateUp) != 0;
        for (Projection needed : {Projection::kGate, Projection::kUp, Projection::kDown}) {
            const bool optional = needed != Projection::kDown && (fused || in_model.count(needed) == 0);
            if (!optional && has.count(needed) == 0) {
                return Status(StatusCode::kFormat, path_ + ": tensor " + expert_tensor(number, needed) +
                                                       " is missing; download the file again");
            }
        }
        ordered.push_back(std::move(layer));
    }
    const int64_t n_used = largest_experts_used();
    status = check_expert_counts(n_used);
    if (!status.is_ok()) {
        return status;
    }
    experts_ = ExpertIndex(files_, std::move(ordered), static_cast<int32_t>(std::max<int64_t>(1, n_used)));
    return Status::ok();
}

// llama.cpp asserts these instead of refusing them (llama-model.cpp, load_hparams).
Status GgufSource::check_expert_counts(int64_t n_used) const {
    const int64_t n_experts = architecture_integer("expert_count", 0);
    const int64_t n_groups = architecture_integer("expert_group_count", 0);
    const int64_t n_groups_used = architecture_integer("expert_group_used_count", 0);
    const bool possible =
        n_experts == 0 ? n_used == 0 && n_groups == 0
                       : n_experts > 0 && n_used > 0 && n_used <= n_experts && n_groups >= 0 && n_groups < n_experts;
    const bool grouped = n_groups <= 1 || (n_experts % n_groups == 0 && n_groups_used > 0 && n_groups_used < n_groups);
    if (!possible || !grouped) {
        return Status(StatusCode::kFormat, path_ + ": the header says that " + std::to_string(n_used) + " of " +
                                               std::to_string(n_experts) + " experts are used, in " +
                                               std::to_string(n_groups) + " groups: impossible");
    }
    return Status::ok();
}

// One number, or one for each layer.
int64_t GgufSource::largest_experts_used() const {
    const std::string key = architecture() + ".expert_used_count";
    const int64_t id = gguf_find_key(metadata(), key.c_str());
    if (id < 0 || gguf_get_kv_type(metadata(), id) != GGUF_TYPE_ARRAY) {
        return integer(key, 0);
    }
    const gguf_type type = gguf_get_arr_type(metadata(), id);
    if (type != GGUF_TYPE_INT32 && type != GGUF_TYPE_UINT32) {
        return 0;
    }
    int64_t most = 0;
    const auto * values = static_cast<const int32_t *>(gguf_get_arr_data(metadata(), id));
    for (size_t i = 0; i < gguf_get_arr_n(metadata(), id); i++) {
        most = std::max<int64_t>(most, type == GGUF_TYPE_INT32 ? values[i] : static_cast<uint32_t>(values[i]));
    }
    return most;
}

uint64_t GgufSource::file_bytes() const {
    uint64_t bytes = 0;
    for (const auto & file : files_) {
        bytes += file->size_bytes();
    }
    return bytes;
}

uint64_t GgufSource::hot_bytes() const {
    uint64_t bytes = 0;
    for (const Tensor & tensor : tensors_) {
        bytes += tensor.expert ? 0 : tensor.bytes;
    }
    return bytes;
}

bool GgufSource::direct_io() const {
    return direct_refusal().empty();
}

std::string GgufSource::direct_refusal() const {
    for (const auto & file : files_) {
        if (!file->direct()) {
            return file->direct_refusal().empty() ? "switched off" : file->direct_refusal();
        }
    }
    return "";
}

std::string GgufSource::text(const std::string & key) const {
    const int64_t id = gguf_find_key(metadata(), key.c_str());
    return id >= 0 && gguf_get_kv_type(metadata(), id) == GGUF_TYPE_STRING ? gguf_get_val_str(metadata(), id) : "";
}

int64_t GgufSource::integer(const std::string & key, int64_t fallback) const {
    const gguf_context * gguf = metadata();
    const int64_t id = gguf_find_key(gguf, key.c_str());
    if (id < 0) {
        return fallback;
    }
    switch (gguf_get_kv_type(gguf, id)) {
        case GGUF_TYPE_UINT8:
            return gguf_get_val_u8(gguf, id);
        case GGUF_TYPE_INT8:
            return gguf_get_val_i8(gguf, id);
        case GGUF_TYPE_UINT16:
            return gguf_get_val_u16(gguf, id);
        case GGUF_TYPE_INT16:
            return gguf_get_val_i16(gguf, id);
        case GGUF_TYPE_UINT32:
            return gguf_get_val_u32(gguf, id);
        case GGUF_TYPE_INT32:
            return gguf_get_val_i32(gguf, id);
        case GGUF_TYPE_UINT64:
            return static_cast<int64_t>(gguf_get_val_u64(gguf, id));
        case GGUF_TYPE_INT64:
            return gguf_get_val_i64(gguf, id);
        default:
            return fallback;
    }
}

int64_t GgufSource::architecture_integer(const std::string & suffix, int64_t fallback) const {
    return integer(architecture() + "." + suffix, fallback);
}

}  // namespace edgemoe
