#include "engine/router_weights.h"

#include "ggml.h"

#include <cstddef>
#include <cstring>
#include <string>

namespace edgemoe {

namespace {

// Its number among the source's tensors; -1: none that ggml can dequantize.
int64_t find_router(const GgufSource & source, int32_t layer, int64_t n_columns, int64_t n_experts) {
    const std::string name = "blk." + std::to_string(layer) + ".ffn_gate_inp.weight";
    for (size_t i = 0; i < source.tensors().size(); i++) {
        const GgufSource::Tensor & tensor = source.tensors()[i];
        const ggml_tensor & shape = *source.shape(i);
        if (tensor.name != name || shape.ne[0] != n_columns || shape.ne[1] != n_experts || shape.ne[2] != 1) {
            continue;
        }
        const auto type = static_cast<ggml_type>(tensor.type);
        return type == GGML_TYPE_F32 || ggml_get_type_traits(type)->to_float != nullptr ? static_cast<int64_t>(i) : -1;
    }
    return -1;
}

}  // namespace

bool has_router(const GgufSource & source, int32_t layer, int64_t n_columns, int64_t n_experts) {
    return find_router(source, layer, n_columns, n_experts) >= 0;
}

Result<RouterWeights> read_router(const GgufSource & source, int32_t layer, int64_t n_columns, int64_t n_experts) {
    RouterWeights router;
    const int64_t found = find_router(source, layer, n_columns, n_experts);
    if (found < 0) {
        return router;
    }
    const GgufSource::Tensor & tensor = source.tensors()[static_cast<size_t>(found)];
    std::vector<std::byte> bytes(tensor.bytes);
    const Status status = source.files()[tensor.file]->read(tensor.offset, tensor.bytes, bytes.data());
    if (!status.is_ok()) {
        return Status(status.code(), status.message() + " (tensor " + tensor.name + ")");
    }
    router.n_columns = n_columns;
    router.n_experts = n_experts;
    router.values.resize(static_cast<size_t>(n_columns * n_experts));
    if (tensor.type == GGML_TYPE_F32) {
        std::memcpy(router.values.data(), bytes.data(), bytes.size());
    } else {
        ggml_get_type_traits(static_cast<ggml_type>(tensor.type))
            ->to_float(bytes.data(), router.values.data(), n_columns * n_experts);
    }
    return router;
}

}  // namespace edgemoe
