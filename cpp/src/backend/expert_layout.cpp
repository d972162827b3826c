// ggml decides by a tensor's buffer how it is multiplied, and by its type and shape how it is interleaved. Our matrices
// lie in slots of our own, so each tensor that we describe names an empty buffer of the type that ggml would have
// allocated it in.
#include "backend/expert_layout.h"

#include "backend/row_product.h"

#include "ggml-cpu.h"
#include "ggml.h"

#include <cassert>
#include <vector>

namespace edgemoe {

namespace {

std::vector<ggml_backend_buffer_type_t> extra_buffer_types(ggml_backend_dev_t cpu) {
    std::vector<ggml_backend_buffer_type_t> types;
    ggml_backend_reg_t registry = ggml_backend_dev_backend_reg(cpu);
    auto get = reinterpret_cast<ggml_backend_dev_get_extra_bufts_t>(
        ggml_backend_reg_get_proc_address(registry, "ggml_backend_dev_get_extra_bufts"));
    if (get != nullptr) {
        for (ggml_backend_buffer_type_t * type = get(cpu); type != nullptr && *type != nullptr; type++) {
            types.push_back(*type);
        }
    }
    return types;
}

// What llama.cpp asks before it places a stack of experts (llama-model-loader.cpp, weight_buft_supported).
bool supports_experts(ggml_backend_dev_t cpu, ggml_backend_buffer_t buffer, const ExpertPart & part,
                      int64_t n_experts) {
    ggml_init_params params = {ggml_tensor_overhead() * 8, nullptr, true};
    ggml_context * context = ggml_init(params);
    const auto type = static_cast<ggml_type>(part.type);
    ggml_tensor * weights = ggml_new_tensor_3d(context, type, part.columns, part.rows, n_experts);
    ggml_tensor * input = ggml_new_tensor_3d(context, GGML_TYPE_F32, part.columns, 1, 512);
    ggml_tensor * ids = ggml_new_tensor_2d(context, GGML_TYPE_I32, 1, 512);
    ggml_tensor * product = ggml_mul_mat_id(context, weights, input, ids);
    weights->buffer = buffer;
    bool supported = ggml_backend_dev_supports_op(cpu, product);
    // Types that need other room than the file's are not for slots.
    supported = supported &&
                ggml_backend_buft_get_alloc_size(ggml_backend_buffer_get_type(buffer), weights) == ggml_nbytes(weights);
    ggml_free(context);
    return supported;
}

}  // namespace

ExpertLayout::ExpertLayout(const ExpertIndex & index, Choice choice) {
    plain_ = ggml_backend_buft_alloc_buffer(ggml_backend_cpu_buffer_type(), 1);
    if (choice == Choice::kAsInFile) {
        return;
    }
    ggml_backend_dev_t cpu = ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU);
    const std::vector<ggml_backend_buffer_type_t> types = extra_buffer_types(cpu);
    std::map<Shape, bool> seen;
    for (const ExpertLayer & layer : index.layers()) {
        for (const ExpertParts & parts : layer.experts) {
            for (const ExpertPart & part : parts) {
                const Shape shape{part.type, part.columns, part.rows};
                if (!part.present || !seen.emplace(shape, true).second) {
                    continue;
                }
                // ggml chooses how to interleave by the number of rows, and we interleave a matrix in parts: the choice
                // must be the same for all of them. It is where the rows are a multiple of 8.
                if (part.rows % 8 != 0) {
                    continue;
                }
                for (ggml_backend_buffer_type_t type : types) {
                    ggml_backend_buffer_t buffer = ggml_backend_buft_alloc_buffer(type, 1);
                    if (supports_experts(cpu, buffer, part, static_cast<int64_t>(layer.experts.size()))) {
                        interleaved_[shape] = buffer;
                        find_out_batches(part);
                        break;
                    }
                    ggml_backend_buffer_free(buffer);
                }
            }
        }
    }
}

// The same for all matrices of a type and width: rows are independent of each other.
void ExpertLayout::find_out_batches(const ExpertPart & part) {
    if (!batches_tried_.insert({part.type, part.columns}).second) {
        return;
    }
    ggml_tensor shape;
    describe(part, nullptr, 0, part.rows, &shape);
    if (batch_kernel_is_exact(shape)) {
        exact_batches_.insert({part.type, part.columns});
    }
}

bool ExpertLayout::batch_is_exact(const ExpertPart & part) const {
    return exact_batches_.count({part.type, part.columns}) != 0;
}

ExpertLayout::~ExpertLayout() {
    for (auto & [shape, buffer] : interleaved_) {
        ggml_backend_buffer_free(buffer);
    }
    ggml_backend_buffer_free(plain_);
}

ggml_backend_buffer_t ExpertLayout::buffer_for(const ExpertPart & part) const {
    const auto found = interleaved_.find(Shape{part.type, part.columns, part.rows});
    return found != interleaved_.end() ? found->second : plain_;
}

void ExpertLayout::describe(const ExpertPart & part, const std::byte * matrix, int64_t first_row, int64_t n_rows,
                            ggml_tensor * tensor) const {
    assert(first_row % kRowGroup == 0);
    const auto type = static_cast<ggml_type>(part.type);
    *tensor = {};
    tensor->type = type;
    tensor->ne[0] = part.columns;
    tensor->ne[1] = n_rows;
    tensor->ne[2] = 1;
    tensor->ne[3] = 1;
    tensor->nb[0] = ggml_type_size(type);
    tensor->nb[1] = ggml_row_size(type, part.columns);
    tensor->nb[2] = tensor->nb[1] * static_cast<size_t>(n_rows);
    tensor->nb[3] = tensor->nb[2];
    // ggml's tensors have no const; nothing writes through a weight.
    tensor->data = const_cast<std::byte *>(matrix + static_cast<size_t>(first_row) * tensor->nb[1]);
    tensor->buffer = buffer_for(part);
    if (tensor->buffer != plain_) {
        ggml_backend_buffer_init_tensor(tensor->buffer, tensor);  // sets the kernels for this type and shape
    }
}

void ExpertLayout::convert(const ExpertPart & part, int64_t first_row, int64_t n_rows, const std::byte * source,
                           std::byte * destination) const {
    ggml_tensor tensor;
    describe(part, destination, 0, n_rows, &tensor);
    ggml_backend_tensor_set(&tensor, source, 0, ggml_nbytes(&tensor));
    (void)first_row;
}

}  // namespace edgemoe
