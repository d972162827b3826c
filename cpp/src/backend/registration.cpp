// In the order of ggml's own small backends: backend, device, registry. Tables are filled by field name into a zeroed
// struct, because ggml inserts slots in the middle between versions.
#include "backend/registration.h"

#include "backend/graph_compute.h"

#include "ggml-backend-impl.h"
#include "ggml.h"

#include <cstring>
#include <mutex>

static_assert(GGML_BACKEND_API_VERSION == 2,
              "ggml's backend interface has changed: read its header again before moving this number");

namespace edgemoe {

namespace {

// ---- backend ----

const char * backend_name(ggml_backend_t) {
    return "EdgeMoE";
}

void backend_free(ggml_backend_t backend) {
    delete static_cast<GraphComputer *>(backend->context);
    delete backend;
}

ggml_status backend_graph_compute(ggml_backend_t backend, ggml_cgraph * graph) {
    return static_cast<GraphComputer *>(backend->context)->compute(graph);
}

void backend_set_n_threads(ggml_backend_t backend, int n_threads) {
    static_cast<GraphComputer *>(backend->context)->set_n_threads(n_threads);
}

ggml_guid_t backend_guid() {
    static ggml_guid guid = {0xed, 0x9e, 0x30, 0xe0, 0x4a, 0x11, 0x4c, 0x5d,
                             0x90, 0x27, 0x66, 0x6c, 0x61, 0x73, 0x68, 0x01};
    return &guid;
}

// ---- device ----

const char * device_name(ggml_backend_dev_t) {
    return "EdgeMoE";
}
const char * device_description(ggml_backend_dev_t) {
    return "Mixture-of-Experts weights streamed from flash";
}
void device_memory(ggml_backend_dev_t, size_t * free, size_t * total) {
    *free = *total = 0;
}
enum ggml_backend_dev_type device_type(ggml_backend_dev_t) {
    return GGML_BACKEND_DEVICE_TYPE_ACCEL;
}

void device_props(ggml_backend_dev_t device, ggml_backend_dev_props * props) {
    *props = {};
    props->name = device_name(device);
    props->description = device_description(device);
    props->type = device_type(device);
}

ggml_backend_t device_init(ggml_backend_dev_t device, const char *) {
    auto * backend = new ggml_backend();
    backend->guid = backend_guid();
    backend->iface.get_name = backend_name;
    backend->iface.free = backend_free;
    backend->iface.graph_compute = backend_graph_compute;
    backend->device = device;
    backend->context = new GraphComputer();
    return backend;
}

// The CPU's: activations stay where the CPU backend has them and are never copied.
ggml_backend_buffer_type_t device_buffer_type(ggml_backend_dev_t) {
    return ggml_backend_cpu_buffer_type();
}

bool device_supports_op(ggml_backend_dev_t, const ggml_tensor * op) {
    return GraphComputer::takes(op);
}

// Host memory, and the CPU's interleaving types, whose weights hot_matmul multiplies with ggml's own kernels.
bool device_supports_buffer_type(ggml_backend_dev_t, ggml_backend_buffer_type_t type) {
    return ggml_backend_buft_is_host(type) ||
           ggml_backend_buft_get_device(type) == ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU);
}

// ---- registry ----

const char * registry_name(ggml_backend_reg_t) {
    return "EdgeMoE";
}
size_t registry_device_count(ggml_backend_reg_t) {
    return 1;
}
ggml_backend_dev_t registry_device(ggml_backend_reg_t, size_t) {
    return expert_device();
}

void * registry_proc_address(ggml_backend_reg_t, const char * name) {
    if (std::strcmp(name, "ggml_backend_set_n_threads") == 0) {
        return reinterpret_cast<void *>(backend_set_n_threads);
    }
    return nullptr;
}

ggml_backend_reg_t expert_registry() {
    static ggml_backend_reg registry = [] {
        ggml_backend_reg made = {};
        made.api_version = GGML_BACKEND_API_VERSION;
        made.iface.get_name = registry_name;
        made.iface.get_device_count = registry_device_count;
        made.iface.get_device = registry_device;
        made.iface.get_proc_address = registry_proc_address;
        return made;
    }();
    return &registry;
}

}  // namespace

ggml_backend_dev_t expert_device() {
    static ggml_backend_device device = [] {
        ggml_backend_device made = {};
        made.iface.get_name = device_name;
        made.iface.get_description = device_description;
        made.iface.get_memory = device_memory;
        made.iface.get_type = device_type;
        made.iface.get_props = device_props;
        made.iface.init_backend = device_init;
        made.iface.get_buffer_type = device_buffer_type;
        made.iface.supports_op = device_supports_op;
        made.iface.supports_buft = device_supports_buffer_type;
        made.reg = expert_registry();
        return made;
    }();
    return &device;
}

void register_expert_backend() {
    static std::once_flag once;
    std::call_once(once, [] { ggml_backend_register(expert_registry()); });
}

}  // namespace edgemoe
