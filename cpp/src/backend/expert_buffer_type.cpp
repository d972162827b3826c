#include "backend/expert_buffer_type.h"

#include "backend/registration.h"
#include "storage/aligned_memory.h"

#include "ggml-backend-impl.h"
#include "ggml.h"

#include <charconv>
#include <cstring>
#include <string>
#include <string_view>

namespace edgemoe {

const char * const kExpertTensorPattern = "^blk\\.[0-9]+\\.ffn_(gate|up|gate_up|down)_exps\\.weight$";

bool parse_expert_tensor_name(const char * name, int32_t * layer, Projection * projection) {
    std::string_view rest(name);
    const auto skip = [&rest](std::string_view literal) {
        const bool there = rest.substr(0, literal.size()) == literal;
        rest.remove_prefix(there ? literal.size() : 0);
        return there;
    };
    if (!skip("blk.") || rest.empty() || rest.front() < '0' || rest.front() > '9') {
        return false;
    }
    int32_t number = 0;
    const auto parsed = std::from_chars(rest.data(), rest.data() + rest.size(), number);
    if (parsed.ec != std::errc()) {
        return false;
    }
    rest.remove_prefix(static_cast<size_t>(parsed.ptr - rest.data()));
    if (!skip(".ffn_")) {
        return false;
    }
    for (size_t p = 0; p < kProjectionCount; p++) {
        if (rest == std::string(kProjectionNames[p]) + "_exps.weight") {
            *layer = number;
            *projection = static_cast<Projection>(p);
            return true;
        }
    }
    return false;
}

namespace {

constexpr const char * kName = "EDGEMOE_EXPERTS";

// ---- buffer: reserved addresses ----

void buffer_free(ggml_backend_buffer_t buffer) {
    delete static_cast<AlignedMemory *>(buffer->context);
}
void * buffer_base(ggml_backend_buffer_t buffer) {
    return static_cast<AlignedMemory *>(buffer->context)->data();
}
void buffer_clear(ggml_backend_buffer_t, uint8_t) {}
void buffer_memset(ggml_backend_buffer_t, ggml_tensor *, uint8_t, size_t, size_t) {}
void buffer_set(ggml_backend_buffer_t, ggml_tensor *, const void *, size_t, size_t) {}
// Nobody reads a weight back in inference; who does gets zeros, not a crash.
void buffer_get(ggml_backend_buffer_t, const ggml_tensor *, void * data, size_t, size_t size) {
    std::memset(data, 0, size);
}

const char * type_name(ggml_backend_buffer_type_t) {
    return kName;
}
size_t type_alignment(ggml_backend_buffer_type_t) {
    return 64;
}

// "Host", so that the scheduler does not copy experts to the CPU backend's memory.
bool type_is_host(ggml_backend_buffer_type_t) {
    return true;
}

ggml_backend_buffer_t type_alloc(ggml_backend_buffer_type_t type, size_t size) {
    Result<AlignedMemory> memory = AlignedMemory::allocate(size == 0 ? 1 : size, AlignedMemory::Access::kReserved);
    if (!memory.is_ok()) {
        return nullptr;
    }
    ggml_backend_buffer_i interface = {};
    interface.free_buffer = buffer_free;
    interface.get_base = buffer_base;
    interface.memset_tensor = buffer_memset;
    interface.set_tensor = buffer_set;
    interface.get_tensor = buffer_get;
    interface.clear = buffer_clear;
    return ggml_backend_buffer_init(type, interface, new AlignedMemory(std::move(memory).value()), size);
}

}  // namespace

struct ExpertBufferType::Handle {
    ggml_backend_buffer_type type = {};
};

ExpertBufferType::ExpertBufferType() : handle_(std::make_unique<Handle>()) {
    handle_->type.iface.get_name = type_name;
    handle_->type.iface.alloc_buffer = type_alloc;
    handle_->type.iface.get_alignment = type_alignment;
    handle_->type.iface.is_host = type_is_host;
    handle_->type.device = expert_device();
    handle_->type.context = this;
}

ExpertBufferType::~ExpertBufferType() = default;

ggml_backend_buffer_type_t ExpertBufferType::handle() {
    return &handle_->type;
}

void ExpertBufferType::set_streams(ExpertStore * store, const ExpertLayout * layout, ggml_threadpool_t threads) {
    store_ = store;
    layout_ = layout;
    threads_ = threads;
}

void ExpertBufferType::set_row_tables(const std::map<std::string, std::unique_ptr<RowTable>> & tables) {
    for (const auto & [name, table] : tables) {
        row_tables_[name] = table.get();
    }
}

RowTable * ExpertBufferType::row_table(const char * name) const {
    const auto found = row_tables_.find(name);
    return found != row_tables_.end() ? found->second : nullptr;
}

void ExpertBufferType::set_failure(const Status & failure) {
    std::lock_guard<std::mutex> lock(mutex_);
    if (failure_.is_ok()) {
        failure_ = failure;
    }
}

Status ExpertBufferType::take_failure() {
    std::lock_guard<std::mutex> lock(mutex_);
    Status failure = failure_;
    failure_ = Status::ok();
    return failure;
}

bool is_expert_buffer_type(ggml_backend_buffer_type_t type) {
    return type->iface.get_name == type_name;
}

ExpertBufferType * expert_buffer_type_of(const ggml_tensor * tensor) {
    if (tensor == nullptr || tensor->buffer == nullptr || !is_expert_buffer_type(tensor->buffer->buft)) {
        return nullptr;
    }
    return static_cast<ExpertBufferType *>(tensor->buffer->buft->context);
}

}  // namespace edgemoe
