// What is looked for, layer by layer (llama.cpp's src/llama-graph.cpp, build_moe_ffn):
//   [weighted = repeat(input) * weights]           only where the router's weights come first
//   up, gate = MUL_MAT_ID(experts, input, ids)     the first of them gives input and ids
//   activation                                     ActivationChain
//   down = MUL_MAT_ID(experts, activation, ids)
//   down * weights                                 gives the weights, unless they came first
// A node's sources are intact when it has just been computed, and only then, so each is asked for.
#include "engine/activation_capture.h"

#include "backend/expert_buffer_type.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace edgemoe {

namespace {

// What `node` is but for biases, scales of experts, and the way it is laid out.
const ggml_tensor * origin_of(const ggml_tensor * node) {
    while (node->op == GGML_OP_RESHAPE || node->op == GGML_OP_VIEW || node->op == GGML_OP_CONT ||
           node->op == GGML_OP_ADD_ID || scale_of_experts(node) != nullptr) {
        node = node->src[0];
    }
    return node;
}

// One number for each token and routed expert.
bool has_shape_of_weights(const ggml_tensor * node, const ggml_tensor * product) {
    return node->ne[0] == 1 && node->ne[1] == product->ne[1] && node->ne[2] == product->ne[2];
}

const char * element(const ggml_tensor * tensor, int64_t i1, int64_t i2) {
    return static_cast<const char *>(tensor->data) + static_cast<size_t>(i1) * tensor->nb[1] +
           static_cast<size_t>(i2) * tensor->nb[2];
}

}  // namespace

ActivationCapture::ActivationCapture(ActivationSpill & spill, std::string architecture)
    : spill_(spill), architecture_(std::move(architecture)) {
    for (size_t i = 0; i < spill.shape().layers.size(); i++) {
        positions_[spill.shape().layers[i].layer] = static_cast<int64_t>(i);
        has_facts_.push_back(spill.facts(i).seen);
    }
}

bool ActivationCapture::observe(ggml_tensor * node, bool ask, void * capture) {
    auto & self = *static_cast<ActivationCapture *>(capture);
    if (ask) {
        return self.failure_.is_ok() && self.ask(node);
    }
    self.take(node);
    return true;
}

void ActivationCapture::begin_batch(int64_t first, int64_t n) {
    first_ = first;
    n_ = n;
    layer_.position = -1;
    weighted_input_ = nullptr;
}

Status ActivationCapture::end_batch() {
    if (layer_.position >= 0) {
        fail("the router's weights were not found");
    }
    return failure_;
}

void ActivationCapture::fail(const std::string & reason) {
    if (failure_.is_ok()) {
        failure_ = Status(StatusCode::kUnsupported,
                          "activations of the architecture " + architecture_ + " cannot be captured: " + reason);
    }
    layer_.position = -1;
}

bool ActivationCapture::ask(const ggml_tensor * node) {
    wanted_ = Wanted::kNothing;
    if (node->op == GGML_OP_MUL && node->src[0]->op == GGML_OP_REPEAT &&
        has_shape_of_weights(node->src[1], node->src[0])) {
        wanted_ = Wanted::kWeightedInput;
    } else if (node->op == GGML_OP_MUL_MAT_ID) {
        int32_t number = -1;
        Projection projection = Projection::kGate;
        if (!parse_expert_tensor_name(node->src[0]->name, &number, &projection) || positions_.count(number) == 0) {
            return false;
        }
        const int64_t position = positions_[number];
        if (projection != Projection::kDown) {
            if (layer_.position != position) {
                if (layer_.position >= 0) {
                    fail("the router's weights of a layer were not found");
                    return false;
                }
                wanted_ = Wanted::kProduct;
            }
        } else if (layer_.position == position) {
            layer_.down = node;
            const auto place = static_cast<size_t>(position);
            if (!has_facts_[place]) {
                LayerFacts facts = spill_.facts(place);
                facts.seen = true;
                facts.chain = ActivationChain::of(node, number);
                facts.weights_before_experts = weighted_input_ != nullptr;
                const Status status = spill_.set_facts(place, facts);
                has_facts_[place] = true;
                if (!status.is_ok()) {
                    failure_ = status;
                    return false;
                }
            }
            if (weighted_input_ != nullptr) {
                undo_weights();
                write(early_weights_, true);
            }
        }
    } else if (node->op == GGML_OP_MUL && layer_.position >= 0 && layer_.down != nullptr &&
               has_shape_of_weights(node->src[1], layer_.down) && scale_of_experts(node) == nullptr &&
               origin_of(node->src[0]) == layer_.down) {
        wanted_ = Wanted::kWeights;
    }
    return wanted_ != Wanted::kNothing;
}

void ActivationCapture::take(const ggml_tensor * node) {
    switch (wanted_) {
        case Wanted::kProduct:
            take_product(node);
            break;
        case Wanted::kWeightedInput:
            weighted_input_ = node;
            take_weights(node->src[1], static_cast<int32_t>(node->src[1]->ne[1]), &early_weights_);
            break;
        case Wanted::kWeights: {
            std::vector<float> weights;
            take_weights(node->src[1], layer_.n_used, &weights);
            write(weights, false);
            break;
        }
        case Wanted::kNothing:
            break;
    }
}

void ActivationCapture::take_product(const ggml_tensor * product) {
    int32_t number = -1;
    Projection projection = Projection::kGate;
    parse_expert_tensor_name(product->src[0]->name, &number, &projection);
    const int64_t position = positions_[number];
    const SpillLayer & shape = spill_.shape().layers[static_cast<size_t>(position)];
    const ggml_tensor * input = product->src[1];
    const ggml_tensor * ids = product->src[2];
    if (weighted_input_ != nullptr &&
        (origin_of(input) != weighted_input_ || early_weights_.size() != static_cast<size_t>(n_ * ids->ne[0]))) {
        weighted_input_ = nullptr;
    }
    if (input->type != GGML_TYPE_F32 || ids->type != GGML_TYPE_I32 || ids->ne[1] != n_ || input->ne[2] != n_ ||
        input->ne[0] != shape.columns || ids->ne[0] > shape.n_used ||
        (input->ne[1] != 1 && weighted_input_ == nullptr)) {
        fail("blk." + std::to_string(number) + "'s experts see an input of an unexpected shape");
        return;
    }
    layer_.position = position;
    layer_.n_used = static_cast<int32_t>(ids->ne[0]);
    layer_.down = nullptr;
    const auto columns = static_cast<size_t>(shape.columns);
    layer_.inputs.resize(static_cast<size_t>(n_) * columns);
    layer_.ids.assign(static_cast<size_t>(n_) * static_cast<size_t>(shape.n_used), -1);
    for (int64_t token = 0; token < n_; token++) {
        // Of inputs that were multiplied with the router's weights, the largest: see undo_weights().
        int64_t slot = 0;
        for (int64_t k = 1; k < input->ne[1]; k++) {
            const size_t row = static_cast<size_t>(token * layer_.n_used);
            slot = std::fabs(early_weights_[row + static_cast<size_t>(k)]) >
                           std::fabs(early_weights_[row + static_cast<size_t>(slot)])
                       ? k
                       : slot;
        }
        std::memcpy(layer_.inputs.data() + static_cast<size_t>(token) * columns, element(input, slot, token),
                    columns * sizeof(float));
        for (int32_t k = 0; k < layer_.n_used; k++) {
            int32_t id = 0;
            std::memcpy(&id, element(ids, token, 0) + static_cast<size_t>(k) * ids->nb[0], sizeof(id));
            layer_.ids[static_cast<size_t>(token) * static_cast<size_t>(shape.n_used) + static_cast<size_t>(k)] =
                static_cast<int16_t>(id);
        }
    }
}

void ActivationCapture::take_weights(const ggml_tensor * weights, int32_t n_used, std::vector<float> * values) const {
    values->resize(static_cast<size_t>(n_) * static_cast<size_t>(n_used));
    if (weights->ne[2] != n_) {
        values->clear();  // of something else
        return;
    }
    for (int64_t token = 0; token < n_; token++) {
        for (int32_t k = 0; k < n_used; k++) {
            std::memcpy(values->data() + static_cast<size_t>(token * n_used + k), element(weights, k, token),
                        sizeof(float));
        }
    }
}

// The input before it was multiplied with a token's largest weight.
void ActivationCapture::undo_weights() {
    const auto columns = layer_.inputs.size() / static_cast<size_t>(n_);
    const auto n_used = static_cast<size_t>(layer_.n_used);
    for (size_t token = 0; token < static_cast<size_t>(n_); token++) {
        float most = 0;
        for (size_t k = 0; k < n_used; k++) {
            const float weight = early_weights_[token * n_used + k];
            most = std::fabs(weight) > std::fabs(most) ? weight : most;
        }
        for (size_t c = 0; c < columns; c++) {
            float & value = layer_.inputs[token * columns + c];
            value = std::fabs(most) > 1e-30F ? value / most : 0.0F;
        }
    }
}

void ActivationCapture::write(const std::vector<float> & weights, bool before_experts) {
    const auto place = static_cast<size_t>(layer_.position);
    const auto room = static_cast<size_t>(spill_.shape().layers[place].n_used);
    const auto n_used = static_cast<size_t>(layer_.n_used);
    if (weights.size() != static_cast<size_t>(n_) * n_used ||
        spill_.facts(place).weights_before_experts != before_experts) {
        fail("the router's weights have an unexpected shape");
        return;
    }
    std::vector<float> padded(static_cast<size_t>(n_) * room, 0.0F);
    for (size_t token = 0; token < static_cast<size_t>(n_); token++) {
        std::copy_n(weights.data() + token * n_used, n_used, padded.data() + token * room);
    }
    const Status status = spill_.write(place, first_, n_, layer_.inputs.data(), layer_.ids.data(), padded.data());
    if (!status.is_ok() && failure_.is_ok()) {
        failure_ = status;
    }
    layer_.position = -1;
    weighted_input_ = nullptr;
}

}  // namespace edgemoe
