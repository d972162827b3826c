#include "engine/activation_chain.h"

#include "backend/expert_buffer_type.h"

#include <cstring>
#include <map>
#include <optional>

namespace edgemoe {

namespace {

// Operations that work on each element, or on each row of one token and expert, by itself.
bool is_row_wise(ggml_op op) {
    switch (op) {
        case GGML_OP_UNARY:
        case GGML_OP_GLU:
        case GGML_OP_MUL:
        case GGML_OP_ADD:
        case GGML_OP_SUB:
        case GGML_OP_DIV:
        case GGML_OP_SCALE:
        case GGML_OP_CLAMP:
        case GGML_OP_SQR:
        case GGML_OP_SQRT:
        case GGML_OP_LOG:
        case GGML_OP_SIN:
        case GGML_OP_COS:
        case GGML_OP_RMS_NORM:
        case GGML_OP_NORM:
            return true;
        default:
            return false;
    }
}

// Whether a node is what its source is, perhaps laid out in another way.
bool passes_through(const ggml_tensor * node) {
    const ggml_tensor * source = node->src[0];
    const bool moves = node->op == GGML_OP_RESHAPE || node->op == GGML_OP_CONT || node->op == GGML_OP_VIEW;
    return moves && source != nullptr && node->ne[0] == source->ne[0] && ggml_nelements(node) == ggml_nelements(source);
}

class ChainBuilder {
public:
    explicit ChainBuilder(int32_t layer) : layer_(layer) {}

    // The number of the step that makes `node`, or nothing, with the reason in refusal().
    std::optional<int32_t> step_of(const ggml_tensor * node) {
        const auto known = steps_of_.find(node);
        if (known != steps_of_.end()) {
            return known->second;
        }
        if (passes_through(node)) {
            return step_of(node->src[0]);
        }
        ActivationStep step;
        step.width = node->ne[0];
        if (node->op == GGML_OP_MUL_MAT_ID) {
            int32_t layer = -1;
            if (!parse_expert_tensor_name(node->src[0]->name, &layer, &step.projection) || layer != layer_ ||
                step.projection == Projection::kDown) {
                return refuse(node);
            }
            step.kind = ActivationStep::Kind::kProduct;
        } else if (node->op == GGML_OP_ADD_ID && node->src[1]->op == GGML_OP_NONE) {
            step.kind = ActivationStep::Kind::kBias;
            step.tensor = node->src[1]->name;
            if (!add_source(node->src[0], 0, &step)) {
                return std::nullopt;
            }
        } else if (const ggml_tensor * scale = scale_of_experts(node)) {
            step.kind = ActivationStep::Kind::kScale;
            step.tensor = scale->name;
            if (!add_source(node->src[0], 0, &step)) {
                return std::nullopt;
            }
        } else if (node->op == GGML_OP_VIEW) {
            const ggml_tensor * source = node->src[0];
            const size_t source_offset = source->view_src != nullptr ? source->view_offs : 0;
            const size_t offset = node->view_offs - source_offset;
            const bool same_rows = node->ne[1] == source->ne[1] && node->ne[2] == source->ne[2] &&
                                   node->nb[1] == source->nb[1] && node->nb[2] == source->nb[2] &&
                                   node->nb[0] == source->nb[0] && offset < source->nb[1];
            if (!same_rows) {
                return refuse(node);
            }
            step.kind = ActivationStep::Kind::kPart;
            step.first = static_cast<int64_t>(offset / node->nb[0]);
            if (!add_source(source, 0, &step)) {
                return std::nullopt;
            }
        } else if (is_row_wise(node->op) && node->type == GGML_TYPE_F32) {
            step.op = node->op;
            std::memcpy(step.params.data(), node->op_params, sizeof(node->op_params));
            for (int i = 0; i < GGML_MAX_SRC && node->src[i] != nullptr; i++) {
                const bool same_rows =
                    i < 2 && node->src[i]->ne[1] == node->ne[1] && node->src[i]->ne[2] == node->ne[2];
                if (!same_rows || (i == 1 && node->src[1]->ne[0] != node->src[0]->ne[0])) {
                    return refuse(node);
                }
                if (!add_source(node->src[i], static_cast<size_t>(i), &step)) {
                    return std::nullopt;
                }
            }
        } else {
            return refuse(node);
        }
        chain_.steps.push_back(step);
        const auto number = static_cast<int32_t>(chain_.steps.size()) - 1;
        steps_of_[node] = number;
        return number;
    }

    ActivationChain take(bool complete) {
        if (!complete) {
            chain_.steps.clear();
        }
        return std::move(chain_);
    }

private:
    std::nullopt_t refuse(const ggml_tensor * node) {
        chain_.refusal = std::string("the operation ") + ggml_op_desc(node) + " (" + node->name +
                         ") between the experts' products is not understood";
        return std::nullopt;
    }

    bool add_source(const ggml_tensor * source, size_t place, ActivationStep * step) {
        const std::optional<int32_t> number = step_of(source);
        if (number) {
            step->src[place] = *number;
        }
        return number.has_value();
    }

    int32_t layer_;
    ActivationChain chain_;
    std::map<const ggml_tensor *, int32_t> steps_of_;
};

// ---- bytes ----

constexpr uint8_t kEncoding = 1;
constexpr size_t kMostSteps = 64;

// The enumerations change from version to version of ggml; names stay.
std::string operation_name(const ActivationStep & step) {
    if (step.op == GGML_OP_UNARY) {
        return std::string("UNARY ") + ggml_unary_op_name(static_cast<ggml_unary_op>(step.params[0]));
    }
    if (step.op == GGML_OP_GLU) {
        return std::string("GLU ") + ggml_glu_op_name(static_cast<ggml_glu_op>(step.params[0]));
    }
    return ggml_op_name(step.op);
}

bool find_operation(const std::string & name, ActivationStep * step) {
    for (int i = 0; i < GGML_OP_COUNT; i++) {
        if (name == ggml_op_name(static_cast<ggml_op>(i))) {
            step->op = static_cast<ggml_op>(i);
            return is_row_wise(step->op);
        }
    }
    for (int i = 0; i < GGML_UNARY_OP_COUNT; i++) {
        if (name == std::string("UNARY ") + ggml_unary_op_name(static_cast<ggml_unary_op>(i))) {
            step->op = GGML_OP_UNARY;
            step->params[0] = i;
            return true;
        }
    }
    for (int i = 0; i < GGML_GLU_OP_COUNT; i++) {
        if (name == std::string("GLU ") + ggml_glu_op_name(static_cast<ggml_glu_op>(i))) {
            step->op = GGML_OP_GLU;
            step->params[0] = i;
            return true;
        }
    }
    return false;
}

class Writer {
public:
    template <typename T>
    void number(T value) {
        const auto * bytes = reinterpret_cast<const uint8_t *>(&value);
        bytes_.insert(bytes_.end(), bytes, bytes + sizeof(value));
    }
    void text(const std::string & value) {
        number(static_cast<uint16_t>(value.size()));
        bytes_.insert(bytes_.end(), value.begin(), value.end());
    }
    std::vector<uint8_t> take() { return std::move(bytes_); }

private:
    std::vector<uint8_t> bytes_;
};

class Reader {
public:
    Reader(const uint8_t * data, size_t size) : data_(data), left_(size) {}

    template <typename T>
    T number() {
        T value{};
        if (has(sizeof(value))) {
            std::memcpy(&value, data_, sizeof(value));
            skip(sizeof(value));
        }
        return value;
    }
    std::string text() {
        const auto size = number<uint16_t>();
        std::string value;
        if (has(size)) {
            value.assign(reinterpret_cast<const char *>(data_), size);
            skip(size);
        }
        return value;
    }
    bool failed() const { return failed_; }

private:
    bool has(size_t size) {
        failed_ = failed_ || size > left_;
        return !failed_;
    }
    void skip(size_t size) {
        data_ += size;
        left_ -= size;
    }

    const uint8_t * data_;
    size_t left_;
    bool failed_ = false;
};

}  // namespace

const ggml_tensor * scale_of_experts(const ggml_tensor * node) {
    if (node->op != GGML_OP_MUL || node->src[1]->op != GGML_OP_GET_ROWS) {
        return nullptr;
    }
    const ggml_tensor * table = node->src[1]->src[0];
    while (table->op == GGML_OP_REPEAT || table->op == GGML_OP_RESHAPE) {
        table = table->src[0];
    }
    return table->op == GGML_OP_NONE ? table : nullptr;
}

ActivationChain ActivationChain::of(const ggml_tensor * down, int32_t layer) {
    ChainBuilder builder(layer);
    const bool complete = builder.step_of(down->src[1]).has_value();
    return builder.take(complete);
}

std::vector<uint8_t> ActivationChain::encode() const {
    Writer writer;
    writer.number(kEncoding);
    writer.text(refusal);
    writer.number(static_cast<uint16_t>(steps.size()));
    for (const ActivationStep & step : steps) {
        writer.number(static_cast<uint8_t>(step.kind));
        writer.number(static_cast<uint8_t>(step.projection));
        writer.text(step.tensor);
        writer.number(step.first);
        writer.number(step.width);
        writer.text(step.kind == ActivationStep::Kind::kOperation ? operation_name(step) : "");
        writer.number(step.params);
        writer.number(step.src);
    }
    return writer.take();
}

Result<ActivationChain> ActivationChain::decode(const uint8_t * data, size_t size) {
    Reader reader(data, size);
    ActivationChain chain;
    const auto encoding = reader.number<uint8_t>();
    chain.refusal = reader.text();
    const auto n_steps = reader.number<uint16_t>();
    bool possible = encoding == kEncoding && n_steps <= kMostSteps;
    for (uint16_t i = 0; i < n_steps && possible && !reader.failed(); i++) {
        ActivationStep step;
        const auto kind = reader.number<uint8_t>();
        const auto projection = reader.number<uint8_t>();
        step.kind = static_cast<ActivationStep::Kind>(kind);
        step.projection = static_cast<Projection>(projection);
        step.tensor = reader.text();
        step.first = reader.number<int64_t>();
        step.width = reader.number<int64_t>();
        const std::string operation = reader.text();
        step.params = reader.number<decltype(step.params)>();
        step.src = reader.number<decltype(step.src)>();
        const bool needs_source = step.kind != ActivationStep::Kind::kProduct;
        possible = kind <= static_cast<uint8_t>(ActivationStep::Kind::kOperation) && projection < kProjectionCount &&
                   step.width > 0 && step.width < (int64_t{1} << 24) && step.first >= 0 &&
                   step.first < (int64_t{1} << 24) && step.src[0] < i && step.src[1] < i &&
                   step.src[0] >= (needs_source ? 0 : -1) && step.src[1] >= -1;
        if (step.kind == ActivationStep::Kind::kOperation) {
            possible = possible && find_operation(operation, &step);
        }
        chain.steps.push_back(std::move(step));
    }
    if (reader.failed() || !possible) {
        return Status(StatusCode::kFormat, "the description of the experts' activation is damaged");
    }
    return chain;
}

}  // namespace edgemoe
