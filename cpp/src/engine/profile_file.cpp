// Profile as a GGUF file. The format is described in docs/profile.md; kProfileVersion counts its changes.
#include "engine/log.h"
#include "engine/map_file.h"
#include "engine/profile.h"
#include "storage/file.h"

#include "ggml.h"
#include "gguf.h"

#include <fcntl.h>
#include <unistd.h>
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>

namespace edgemoe {

namespace {

const std::string kPrefix = kProfilePrefix;

struct FreeGguf {
    void operator()(gguf_context * context) const { gguf_free(context); }
    void operator()(ggml_context * context) const { ggml_free(context); }
};
using Gguf = std::unique_ptr<gguf_context, FreeGguf>;
using Tensors = std::unique_ptr<ggml_context, FreeGguf>;

std::string tensor_name(int32_t layer, const char * what) {
    return "blk." + std::to_string(layer) + ".profile." + what;
}

// ---- writing ----

class FileWriter {
public:
    explicit FileWriter(size_t n_tensors)
        : gguf_(gguf_init_empty()), tensors_(ggml_init({(n_tensors + 1) * ggml_tensor_overhead(), nullptr, true})) {}

    gguf_context * gguf() { return gguf_.get(); }
    std::string key(const std::string & name) const { return kPrefix + name; }

    template <typename T>
    void array(const std::string & name, gguf_type type, const std::vector<T> & values) {
        gguf_set_arr_data(gguf_.get(), key(name).c_str(), type, values.data(), values.size());
    }

    // `data` is borrowed until write(). Empty tensors are left out.
    void tensor(const std::string & name, ggml_type type, std::initializer_list<int64_t> dims, const void * data) {
        int64_t ne[GGML_MAX_DIMS] = {1, 1, 1, 1};
        std::copy(dims.begin(), dims.end(), ne);
        if (std::find(dims.begin(), dims.end(), 0) != dims.end()) {
            return;
        }
        ggml_tensor * tensor = ggml_new_tensor(tensors_.get(), type, static_cast<int>(dims.size()), ne);
        ggml_set_name(tensor, name.c_str());
        gguf_add_tensor(gguf_.get(), tensor);
        gguf_set_tensor_data(gguf_.get(), name.c_str(), data);
        checksum_ = fnv1a(checksum_, data, ggml_nbytes(tensor));
    }

    Status write(const std::string & path) {
        gguf_set_val_u64(gguf_.get(), key("checksum").c_str(), checksum_);
        const std::string temporary = path + ".part";
        const auto failed = [&](const char * what, int error) {
            ::unlink(temporary.c_str());
            return Status(StatusCode::kIo, temporary + ": " + what + ": " + std::strerror(error));
        };
        FILE * file = std::fopen(temporary.c_str(), "wb");
        if (file == nullptr) {
            return failed("cannot be created", errno);
        }
        errno = 0;
        const bool written =
            gguf_write_to_file_ptr(gguf_.get(), file, false) && std::fflush(file) == 0 && ::fsync(::fileno(file)) == 0;
        const int error = errno != 0 ? errno : EIO;
        if (std::fclose(file) != 0 || !written) {
            return failed("writing", error);
        }
        if (std::rename(temporary.c_str(), path.c_str()) != 0) {
            return failed("cannot be renamed", errno);
        }
        return Status::ok();
    }

private:
    Gguf gguf_;
    Tensors tensors_;
    uint64_t checksum_ = kFnvStart;
};

void add_layer(const LayerProfile & layer, const std::vector<ggml_fp16_t> & weights, FileWriter * file) {
    const int32_t number = layer.routing.layer;
    const auto name = [number](const char * what) { return tensor_name(number, what); };
    const int64_t n_experts = layer.routing.n_experts, n_used = layer.routing.n_used;
    const auto n_tokens = static_cast<int64_t>(layer.routing.n_tokens());
    file->tensor(name("ids"), GGML_TYPE_I16, {n_used, n_tokens}, layer.routing.ids.data());
    file->tensor(name("weights"), GGML_TYPE_F16, {n_used, n_tokens}, weights.data());
    file->tensor(name("counts"), GGML_TYPE_I32, {n_experts}, layer.counts.data());
    file->tensor(name("mass"), GGML_TYPE_F64, {n_experts}, layer.mass.data());
    file->tensor(name("total_weight"), GGML_TYPE_F64, {n_experts}, layer.total_weight.data());
    file->tensor(name("input_moments"), GGML_TYPE_F32, {layer.input.columns, n_experts}, layer.input.sums.data());
    file->tensor(name("down_moments"), GGML_TYPE_F32, {layer.down.columns, n_experts}, layer.down.sums.data());
    file->array("chain." + std::to_string(number), GGUF_TYPE_UINT8, layer.chain.encode());
}

void add_sensitivity(const SensitivityTable & table, const std::vector<LayerProfile> & layers, FileWriter * file) {
    std::vector<const char *> names;
    for (int32_t type : table.types) {
        names.push_back(ggml_type_name(static_cast<ggml_type>(type)));
    }
    const auto n_types = static_cast<int64_t>(names.size()), n_projections = static_cast<int64_t>(kProjectionCount);
    gguf_set_val_u32(file->gguf(), file->key("sensitivity.version").c_str(), table.formula_version);
    gguf_set_val_str(file->gguf(), file->key("sensitivity.formula").c_str(), table.formula.c_str());
    gguf_set_val_i64(file->gguf(), file->key("sensitivity.group_tokens").c_str(), table.group_tokens);
    gguf_set_arr_str(file->gguf(), file->key("sensitivity.types").c_str(), names.data(), names.size());
    for (size_t i = 0; i < layers.size() && i < table.damage.size(); i++) {
        const int64_t n_experts = layers[i].routing.n_experts;
        if (static_cast<int64_t>(table.damage[i].size()) == n_types * n_projections * n_experts) {
            file->tensor(tensor_name(layers[i].routing.layer, "damage"), GGML_TYPE_F32,
                         {n_types, n_projections, n_experts}, table.damage[i].data());
        }
    }
    const auto n_layers = static_cast<int64_t>(layers.size());
    if (static_cast<int64_t>(table.group_kl.size()) == n_types * n_projections * n_layers) {
        file->tensor("profile.group_kl", GGML_TYPE_F32, {n_types, n_projections, n_layers}, table.group_kl.data());
    }
}

void add_maps(const ExpertMaps & maps, FileWriter * file) {
    for (const GgufKeyValue & entry : map_entries(maps, kPrefix)) {
        set_key_value(file->gguf(), entry);
    }
    for (const LayerMap & map : maps.layers) {
        file->tensor(map_tensor_name(map.layer), static_cast<ggml_type>(kMapType), {map.n_columns(), map.n_rows()},
                     map.weights.data());
    }
}

// ---- reading ----

// Keeps the first thing that is wrong.
class FileReader {
public:
    explicit FileReader(std::string path) : path_(std::move(path)) {}

    Status open() {
        std::error_code ignored;
        if (!std::filesystem::exists(path_, ignored)) {
            return Status(StatusCode::kNotFound, path_ + ": No such file or directory");
        }
        ErrorCapture errors;
        ggml_context * tensors = nullptr;
        gguf_.reset(gguf_init_from_file(path_.c_str(), {/*no_alloc=*/false, &tensors}));
        tensors_.reset(tensors);
        if (gguf_ == nullptr) {
            return Status(StatusCode::kFormat, path_ + ": is no profile, or is damaged: " + errors.first());
        }
        return Status::ok();
    }

    bool has(const std::string & name) const { return gguf_find_key(gguf_.get(), (kPrefix + name).c_str()) >= 0; }

    template <typename T>
    T number(const std::string & name, gguf_type type) {
        const int64_t id = find(name, type);
        T value{};
        if (id >= 0) {
            std::memcpy(&value, gguf_get_val_data(gguf_.get(), id), sizeof(value));
        }
        return value;
    }
    std::string text(const std::string & name) {
        const int64_t id = find(name, GGUF_TYPE_STRING);
        return id >= 0 ? gguf_get_val_str(gguf_.get(), id) : "";
    }
    template <typename T>
    std::vector<T> array(const std::string & name, gguf_type type) {
        const int64_t id = find(name, GGUF_TYPE_ARRAY);
        if (id < 0 || gguf_get_arr_type(gguf_.get(), id) != type) {
            fail(name);
            return {};
        }
        const auto * data = static_cast<const T *>(gguf_get_arr_data(gguf_.get(), id));
        return std::vector<T>(data, data + gguf_get_arr_n(gguf_.get(), id));
    }
    std::vector<std::string> texts(const std::string & name) {
        const int64_t id = find(name, GGUF_TYPE_ARRAY);
        std::vector<std::string> values;
        if (id >= 0 && gguf_get_arr_type(gguf_.get(), id) == GGUF_TYPE_STRING) {
            for (size_t i = 0; i < gguf_get_arr_n(gguf_.get(), id); i++) {
                values.emplace_back(gguf_get_arr_str(gguf_.get(), id, i));
            }
        }
        return values;
    }

    // A tensor of `type`; its elements behind the first dimension, or `columns` dimensions, are counted by the caller.
    // nullptr if there is none.
    template <typename T>
    std::vector<T> tensor(const std::string & name, ggml_type type, int64_t * columns = nullptr) {
        const ggml_tensor * found = ggml_get_tensor(tensors_.get(), name.c_str());
        if (columns != nullptr) {
            *columns = found != nullptr ? found->ne[0] : 0;
        }
        if (found == nullptr) {
            return {};
        }
        if (found->type != type) {
            fail(name);
            return {};
        }
        const auto * data = static_cast<const T *>(found->data);
        return std::vector<T>(data, data + ggml_nelements(found));
    }
    uint64_t checksum() const {
        uint64_t state = kFnvStart;
        for (int64_t i = 0; i < gguf_get_n_tensors(gguf_.get()); i++) {
            const ggml_tensor * tensor = ggml_get_tensor(tensors_.get(), gguf_get_tensor_name(gguf_.get(), i));
            state = fnv1a(state, tensor->data, ggml_nbytes(tensor));
        }
        return state;
    }

    void need(bool condition, const std::string & name) {
        if (!condition) {
            fail(name);
        }
    }
    void fail(const std::string & name) {
        if (failure_.is_ok()) {
            failure_ = Status(StatusCode::kFormat, path_ + ": is no profile, or is damaged: " + name +
                                                       " is missing or not as it should be; make it again");
        }
    }
    const Status & failure() const { return failure_; }

private:
    int64_t find(const std::string & name, gguf_type type) {
        const int64_t id = gguf_find_key(gguf_.get(), (kPrefix + name).c_str());
        if (id < 0 || gguf_get_kv_type(gguf_.get(), id) != type) {
            fail(name);
            return -1;
        }
        return id;
    }

    std::string path_;
    Gguf gguf_;
    Tensors tensors_;
    Status failure_;
};

LayerProfile read_layer(int32_t number, int32_t n_experts, int32_t n_used, FileReader * file) {
    LayerProfile layer;
    const auto name = [number](const char * what) { return tensor_name(number, what); };
    const auto experts = static_cast<size_t>(std::max(0, n_experts));
    layer.routing.layer = number;
    layer.routing.n_experts = n_experts;
    layer.routing.n_used = n_used;
    layer.routing.ids = file->tensor<int16_t>(name("ids"), GGML_TYPE_I16);
    const auto weights = file->tensor<ggml_fp16_t>(name("weights"), GGML_TYPE_F16);
    layer.routing.weights.resize(weights.size());
    ggml_fp16_to_fp32_row(weights.data(), layer.routing.weights.data(), static_cast<int64_t>(weights.size()));
    layer.counts = file->tensor<uint32_t>(name("counts"), GGML_TYPE_I32);
    layer.mass = file->tensor<double>(name("mass"), GGML_TYPE_F64);
    layer.total_weight = file->tensor<double>(name("total_weight"), GGML_TYPE_F64);
    layer.input.sums = file->tensor<float>(name("input_moments"), GGML_TYPE_F32, &layer.input.columns);
    layer.down.sums = file->tensor<float>(name("down_moments"), GGML_TYPE_F32, &layer.down.columns);
    const auto chain = file->array<uint8_t>("chain." + std::to_string(number), GGUF_TYPE_UINT8);
    Result<ActivationChain> decoded = ActivationChain::decode(chain.data(), chain.size());
    if (decoded.is_ok()) {
        layer.chain = std::move(decoded).value();
    }
    file->need(decoded.is_ok(), "chain." + std::to_string(number));
    file->need(n_experts > 0 && n_used > 0 && layer.routing.ids.size() == weights.size() &&
                   layer.routing.ids.size() % static_cast<size_t>(std::max(1, n_used)) == 0,
               name("ids"));
    file->need(std::all_of(layer.routing.ids.begin(), layer.routing.ids.end(),
                           [&](int16_t id) { return id >= -1 && id < n_experts; }),
               name("ids"));
    file->need(layer.counts.size() == experts && layer.mass.size() == experts && layer.total_weight.size() == experts,
               name("counts"));
    for (const DiagonalMoments * moments : {&layer.input, &layer.down}) {
        file->need(moments->sums.size() == experts * static_cast<size_t>(moments->columns), name("moments"));
    }
    return layer;
}

SensitivityTable read_sensitivity(const std::vector<LayerProfile> & layers, FileReader * file) {
    SensitivityTable table;
    table.formula_version = file->number<uint32_t>("sensitivity.version", GGUF_TYPE_UINT32);
    table.formula = file->text("sensitivity.formula");
    table.group_tokens = file->number<int64_t>("sensitivity.group_tokens", GGUF_TYPE_INT64);
    for (const std::string & name : file->texts("sensitivity.types")) {
        int32_t type = -1;
        for (int32_t i = 0; i < GGML_TYPE_COUNT; i++) {
            const char * known = ggml_type_name(static_cast<ggml_type>(i));
            type = known != nullptr && name == known ? i : type;
        }
        file->need(type >= 0, "sensitivity.types");
        table.types.push_back(type);
    }
    for (const LayerProfile & layer : layers) {
        table.damage.push_back(file->tensor<float>(tensor_name(layer.routing.layer, "damage"), GGML_TYPE_F32));
        const size_t expected = static_cast<size_t>(layer.routing.n_experts) * kProjectionCount * table.types.size();
        file->need(table.damage.back().empty() || table.damage.back().size() == expected, "damage");
    }
    table.group_kl = file->tensor<float>("profile.group_kl", GGML_TYPE_F32);
    file->need(table.group_kl.empty() || table.group_kl.size() == layers.size() * kProjectionCount * table.types.size(),
               "profile.group_kl");
    return table;
}

std::vector<std::pair<ExpertId, uint32_t>> counts_of(const std::string & path, const ExpertIndex & index) {
    std::error_code ignored;
    ErrorCapture errors;
    const Gguf gguf(std::filesystem::exists(path, ignored) ? gguf_init_from_file(path.c_str(), {true, nullptr})
                                                           : nullptr);
    const Result<std::shared_ptr<const File>> file = File::open(path, false);
    std::vector<std::pair<ExpertId, uint32_t>> result;
    for (const ExpertLayer & layer : index.layers()) {
        const std::string name = tensor_name(layer.layer, "counts");
        const int64_t tensor = gguf != nullptr && file.is_ok() ? gguf_find_tensor(gguf.get(), name.c_str()) : -1;
        std::vector<uint32_t> counts(layer.experts.size());
        const size_t bytes = counts.size() * sizeof(uint32_t);
        if (tensor < 0) {
            continue;
        }
        if (gguf_get_tensor_type(gguf.get(), tensor) != GGML_TYPE_I32 ||
            gguf_get_tensor_size(gguf.get(), tensor) != bytes) {
            return {};
        }
        const uint64_t offset = gguf_get_data_offset(gguf.get()) + gguf_get_tensor_offset(gguf.get(), tensor);
        if (!file.value()->read(offset, bytes, reinterpret_cast<std::byte *>(counts.data())).is_ok()) {
            return {};
        }
        for (size_t expert = 0; expert < counts.size(); expert++) {
            result.emplace_back(ExpertId{layer.layer, static_cast<int32_t>(expert)}, counts[expert]);
        }
    }
    return result;
}

}  // namespace

Status Profile::save(const std::string & path) const {
    constexpr size_t kTensorsOfLayer = 8;
    FileWriter file(layers.size() * kTensorsOfLayer + maps.layers.size() + 1);
    gguf_context * gguf = file.gguf();
    gguf_set_val_str(gguf, "general.architecture", "edgemoe-profile");
    gguf_set_val_u32(gguf, file.key("version").c_str(), kProfileVersion);
    gguf_set_val_str(gguf, file.key("model.architecture").c_str(), model.architecture.c_str());
    gguf_set_val_str(gguf, file.key("model.name").c_str(), model.name.c_str());
    gguf_set_val_i32(gguf, file.key("model.layers").c_str(), model.n_layers);
    gguf_set_val_i32(gguf, file.key("model.n_embd").c_str(), model.n_embd);
    gguf_set_val_i32(gguf, file.key("model.experts").c_str(), model.n_experts);
    gguf_set_val_i32(gguf, file.key("model.experts_used").c_str(), model.n_experts_used);
    gguf_set_val_u64(gguf, file.key("model.file_bytes").c_str(), model.file_bytes);
    gguf_set_val_u64(gguf, file.key("model.header_checksum").c_str(), model.header_checksum);
    gguf_set_val_i32(gguf, file.key("n_ctx").c_str(), n_ctx);
    file.array("tokens", GGUF_TYPE_INT32, tokens);
    std::vector<int32_t> numbers, n_experts, n_used;
    std::vector<uint8_t> evaluated, before;
    std::vector<std::vector<ggml_fp16_t>> weights(layers.size());  // until they are written
    for (size_t i = 0; i < layers.size(); i++) {
        const LayerProfile & layer = layers[i];
        numbers.push_back(layer.routing.layer);
        n_experts.push_back(layer.routing.n_experts);
        n_used.push_back(layer.routing.n_used);
        evaluated.push_back(layer.evaluated ? 1 : 0);
        before.push_back(layer.weights_before_experts ? 1 : 0);
        weights[i].resize(layer.routing.weights.size());
        ggml_fp32_to_fp16_row(layer.routing.weights.data(), weights[i].data(), static_cast<int64_t>(weights[i].size()));
        add_layer(layer, weights[i], &file);
    }
    file.array("layers", GGUF_TYPE_INT32, numbers);
    file.array("layer_experts", GGUF_TYPE_INT32, n_experts);
    file.array("layer_experts_used", GGUF_TYPE_INT32, n_used);
    file.array("layer_evaluated", GGUF_TYPE_UINT8, evaluated);
    file.array("layer_weights_first", GGUF_TYPE_UINT8, before);
    if (sensitivity) {
        add_sensitivity(*sensitivity, layers, &file);
    }
    add_maps(maps, &file);
    return file.write(path);
}

std::vector<std::pair<ExpertId, uint32_t>> Profile::read_counts(const std::string & path, const ExpertIndex & index) {
    return counts_of(path, index);
}

Result<Profile> Profile::load(const std::string & path) {
    FileReader file(path);
    Status status = file.open();
    if (!status.is_ok()) {
        return status;
    }
    const auto version = file.number<uint32_t>("version", GGUF_TYPE_UINT32);
    if (file.failure().is_ok() && version != kProfileVersion) {
        return Status(StatusCode::kFormat, path + ": is a profile of version " + std::to_string(version) +
                                               ", this program reads version " + std::to_string(kProfileVersion) +
                                               "; make it again");
    }
    file.need(file.number<uint64_t>("checksum", GGUF_TYPE_UINT64) == file.checksum(), "the checksum");
    Profile profile;
    ModelIdentity & model = profile.model;
    model.architecture = file.text("model.architecture");
    model.name = file.text("model.name");
    model.n_layers = file.number<int32_t>("model.layers", GGUF_TYPE_INT32);
    model.n_embd = file.number<int32_t>("model.n_embd", GGUF_TYPE_INT32);
    model.n_experts = file.number<int32_t>("model.experts", GGUF_TYPE_INT32);
    model.n_experts_used = file.number<int32_t>("model.experts_used", GGUF_TYPE_INT32);
    model.file_bytes = file.number<uint64_t>("model.file_bytes", GGUF_TYPE_UINT64);
    model.header_checksum = file.number<uint64_t>("model.header_checksum", GGUF_TYPE_UINT64);
    profile.n_ctx = file.number<int32_t>("n_ctx", GGUF_TYPE_INT32);
    profile.tokens = file.array<int32_t>("tokens", GGUF_TYPE_INT32);
    const auto numbers = file.array<int32_t>("layers", GGUF_TYPE_INT32);
    const auto n_experts = file.array<int32_t>("layer_experts", GGUF_TYPE_INT32);
    const auto n_used = file.array<int32_t>("layer_experts_used", GGUF_TYPE_INT32);
    const auto evaluated = file.array<uint8_t>("layer_evaluated", GGUF_TYPE_UINT8);
    const auto before = file.array<uint8_t>("layer_weights_first", GGUF_TYPE_UINT8);
    file.need(n_experts.size() == numbers.size() && n_used.size() == numbers.size() &&
                  evaluated.size() == numbers.size() && before.size() == numbers.size(),
              "layers");
    for (size_t i = 0; i < numbers.size() && file.failure().is_ok(); i++) {
        profile.layers.push_back(read_layer(numbers[i], n_experts[i], n_used[i], &file));
        profile.layers.back().evaluated = evaluated[i] != 0;
        profile.layers.back().weights_before_experts = before[i] != 0;
    }
    if (file.failure().is_ok() && file.has("sensitivity.version")) {
        profile.sensitivity = read_sensitivity(profile.layers, &file);
    }
    if (!file.failure().is_ok()) {
        return file.failure();
    }
    Result<ExpertMaps> maps = read_maps(path, kPrefix);
    if (!maps.is_ok()) {
        return maps.status();
    }
    profile.maps = std::move(maps).value();
    return profile;
}

}  // namespace edgemoe
