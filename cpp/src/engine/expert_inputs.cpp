#include "engine/expert_inputs.h"

#include "ggml-cpu.h"

#include <algorithm>
#include <cstring>

namespace edgemoe {

namespace {

using Kind = ActivationStep::Kind;

constexpr size_t kSimdBytes = 64;

// The tokens of `routed` that a sample of n_most takes (0: all).
std::vector<int32_t> sample(std::vector<int32_t> routed, int64_t n_most) {
    const auto n = static_cast<int64_t>(routed.size());
    if (n_most <= 0 || n <= n_most) {
        return routed;
    }
    std::vector<int32_t> taken;
    for (int64_t i = 0; i < n_most; i++) {
        taken.push_back(routed[static_cast<size_t>((2 * i + 1) * n / (2 * n_most))]);
    }
    return taken;
}

float router_weight(const LayerActivations & activations, int32_t token, int32_t expert) {
    const auto n_used = static_cast<size_t>(activations.shape.n_used);
    for (size_t i = static_cast<size_t>(token) * n_used; i < (static_cast<size_t>(token) + 1) * n_used; i++) {
        if (activations.ids[i] == expert) {
            return activations.weights[i];
        }
    }
    return 0;
}

// What gate and up are multiplied with.
void fill_inputs(const LayerActivations & activations, int32_t expert, ExpertInputs * piece) {
    const auto columns = static_cast<size_t>(activations.shape.columns);
    piece->columns = activations.shape.columns;
    piece->inputs.resize(piece->tokens.size() * columns);
    piece->weights.resize(piece->tokens.size());
    activations.decode(piece->tokens, piece->inputs.data());
    for (size_t i = 0; i < piece->tokens.size(); i++) {
        const float weight = router_weight(activations, piece->tokens[i], expert);
        if (activations.facts.weights_before_experts) {
            piece->weights[i] = 1;
            for (size_t c = 0; c < columns; c++) {
                piece->inputs[i * columns + c] *= weight;
            }
        } else {
            piece->weights[i] = weight * weight;
        }
    }
}

}  // namespace

std::vector<int32_t> routed_tokens(const LayerActivations & activations, int32_t expert) {
    std::vector<int32_t> tokens;
    const auto n_used = static_cast<size_t>(activations.shape.n_used);
    for (size_t i = 0; i < activations.ids.size(); i++) {
        const auto token = static_cast<int32_t>(i / n_used);
        if (activations.ids[i] == expert && (tokens.empty() || tokens.back() != token)) {
            tokens.push_back(token);
        }
    }
    return tokens;
}

// One matrix of an expert as ggml's kernels want it.
struct ExpertInputReader::Matrix {
    ExpertPart part;
    std::unique_ptr<std::byte[]> memory;
    std::byte * data = nullptr;  // in memory, aligned
    ggml_tensor tensor = {};     // valid while this object and the reader's layout are
};

// The chain as a graph over the tokens of a piece.
class ExpertInputReader::ChainGraph {
public:
    ChainGraph(ExpertInputReader & reader, const ActivationChain & chain, int32_t expert,
               std::map<Projection, Matrix> & matrices)
        : reader_(reader), chain_(chain), expert_(static_cast<size_t>(expert)), matrices_(matrices) {}

    // inputs: [n, columns] of gate and up; *result: [n, width of the last step].
    Status compute(const std::vector<float> & inputs, int64_t n, std::vector<float> * result) {
        const int64_t columns = static_cast<int64_t>(inputs.size()) / n;
        size_t bytes = inputs.size() * sizeof(float) + ggml_graph_overhead();
        for (const ActivationStep & step : chain_.steps) {
            bytes +=
                static_cast<size_t>((n + 1) * step.width) * sizeof(float) + 3 * (ggml_tensor_overhead() + kSimdBytes);
        }
        bytes += 4 * (ggml_tensor_overhead() + kSimdBytes);
        const std::unique_ptr<ggml_context, void (*)(ggml_context *)> context(
            ggml_init({bytes, memory_of(bytes), false}), ggml_free);
        if (context == nullptr) {
            return Status(StatusCode::kOutOfBudget, "out of memory while computing an expert's activations");
        }
        ggml_tensor * input = ggml_new_tensor_2d(context.get(), GGML_TYPE_F32, columns, n);
        std::memcpy(input->data, inputs.data(), inputs.size() * sizeof(float));
        std::vector<ggml_tensor *> values;
        for (const ActivationStep & step : chain_.steps) {
            ggml_tensor * value = add_step(context.get(), step, input, values);
            if (value == nullptr || value->ne[0] != step.width || value->ne[1] != n) {
                return Status(StatusCode::kFormat,
                              "the experts do not have the shape that the activation was "
                              "captured with");
            }
            values.push_back(value);
        }
        ggml_cgraph * graph = ggml_new_graph(context.get());
        ggml_build_forward_expand(graph, values.back());
        ggml_cplan plan = ggml_graph_plan(graph, reader_.n_threads_, reader_.threads_.get());
        reader_.work_.resize(std::max(reader_.work_.size(), plan.work_size));
        plan.work_data = reader_.work_.data();
        if (ggml_graph_compute(graph, &plan) != GGML_STATUS_SUCCESS) {
            return Status(StatusCode::kInternal, "ggml could not compute an expert's activations");
        }
        const auto * data = static_cast<const float *>(values.back()->data);
        result->assign(data, data + ggml_nelements(values.back()));
        return Status::ok();
    }

private:
    std::byte * memory_of(size_t bytes) {
        reader_.memory_.resize(std::max(reader_.memory_.size(), bytes));
        return reader_.memory_.data();
    }

    ggml_tensor * add_step(ggml_context * context, const ActivationStep & step, ggml_tensor * input,
                           const std::vector<ggml_tensor *> & values) {
        ggml_tensor * first = step.src[0] >= 0 ? values[static_cast<size_t>(step.src[0])] : nullptr;
        ggml_tensor * second = step.src[1] >= 0 ? values[static_cast<size_t>(step.src[1])] : nullptr;
        switch (step.kind) {
            case Kind::kProduct: {
                const auto matrix = matrices_.find(step.projection);
                if (matrix == matrices_.end() || matrix->second.part.columns != input->ne[0]) {
                    return nullptr;
                }
                return ggml_mul_mat(context, &matrix->second.tensor, input);
            }
            case Kind::kBias: {
                const std::vector<float> & table = reader_.hot_[step.tensor];
                const auto width = static_cast<size_t>(step.width);
                if (table.size() < (expert_ + 1) * width || first->ne[0] != step.width) {
                    return nullptr;
                }
                ggml_tensor * bias = ggml_new_tensor_1d(context, GGML_TYPE_F32, step.width);
                std::memcpy(bias->data, table.data() + expert_ * width, width * sizeof(float));
                return ggml_add(context, first, bias);
            }
            case Kind::kScale: {
                const std::vector<float> & table = reader_.hot_[step.tensor];
                return expert_ < table.size() ? ggml_scale(context, first, table[expert_]) : nullptr;
            }
            case Kind::kPart:
                if (step.first + step.width > first->ne[0]) {
                    return nullptr;
                }
                return ggml_view_2d(context, first, step.width, first->ne[1], first->nb[1],
                                    static_cast<size_t>(step.first) * sizeof(float));
            case Kind::kOperation:
                break;
        }
        // The node as llama.cpp's graph had it, over other data.
        ggml_tensor * value = ggml_new_tensor_2d(context, GGML_TYPE_F32, step.width, first->ne[1]);
        value->op = step.op;
        static_assert(sizeof(value->op_params) == sizeof(step.params), "a step keeps all parameters of a node");
        std::memcpy(value->op_params, step.params.data(), sizeof(value->op_params));
        value->src[0] = first;
        value->src[1] = second;
        const bool halves = step.op == GGML_OP_GLU && second == nullptr;
        return first->ne[0] == (halves ? 2 : 1) * step.width ? value : nullptr;
    }

    ExpertInputReader & reader_;
    const ActivationChain & chain_;
    size_t expert_;
    std::map<Projection, Matrix> & matrices_;
};

ExpertInputReader::ExpertInputReader(const GgufSource & source, int n_threads)
    : source_(source), n_threads_(n_threads), layout_(source.experts()) {
    ggml_threadpool_params params = ggml_threadpool_params_default(n_threads);
    threads_.reset(ggml_threadpool_new(&params));
}

ExpertInputReader::~ExpertInputReader() = default;

Result<ExpertInputReader::Matrix> ExpertInputReader::load_matrix(ExpertId id, Projection projection,
                                                                 const MatrixView & replaced) const {
    const ExpertParts * parts = source_.experts().find(id);
    if (parts == nullptr || !(*parts)[static_cast<size_t>(projection)].present) {
        return Status(StatusCode::kNotFound, source_.path() + ": blk." + std::to_string(id.layer) + " expert " +
                                                 std::to_string(id.expert) + " has no " + projection_name(projection) +
                                                 " matrix");
    }
    Matrix matrix;
    matrix.part = (*parts)[static_cast<size_t>(projection)];
    std::vector<std::byte> bytes;
    const std::byte * rows = replaced.data;
    if (rows == nullptr) {
        bytes.resize(matrix.part.bytes);
        const File & file = *source_.experts().files()[matrix.part.file];
        const Status status = file.read(matrix.part.offset, bytes.size(), bytes.data());
        if (!status.is_ok()) {
            return status;
        }
        rows = bytes.data();
    } else {
        matrix.part.type = replaced.type;
        matrix.part.bytes = static_cast<uint64_t>(matrix.part.rows) *
                            ggml_row_size(static_cast<ggml_type>(replaced.type), matrix.part.columns);
    }
    size_t room = matrix.part.bytes + kSimdBytes;
    matrix.memory = std::make_unique<std::byte[]>(room);
    void * aligned = matrix.memory.get();
    matrix.data = static_cast<std::byte *>(std::align(kSimdBytes, matrix.part.bytes, aligned, room));
    layout_.convert(matrix.part, 0, matrix.part.rows, rows, matrix.data);
    layout_.describe(matrix.part, matrix.data, 0, matrix.part.rows, &matrix.tensor);
    return matrix;
}

// Biases and scales of all experts of a layer, as floats.
Status ExpertInputReader::load_hot(const ActivationChain & chain) {
    for (const ActivationStep & step : chain.steps) {
        if (step.tensor.empty() || hot_.count(step.tensor) != 0) {
            continue;
        }
        const auto & tensors = source_.tensors();
        const auto found = std::find_if(tensors.begin(), tensors.end(),
                                        [&](const GgufSource::Tensor & tensor) { return tensor.name == step.tensor; });
        if (found == tensors.end() || found->type != GGML_TYPE_F32) {
            return Status(StatusCode::kUnsupported,
                          source_.path() + ": tensor " + step.tensor + " is not there, or not in float32");
        }
        std::vector<float> values(found->bytes / sizeof(float));
        const Status status = source_.files()[found->file]->read(found->offset, found->bytes, values.data());
        if (!status.is_ok()) {
            return status;
        }
        hot_[step.tensor] = std::move(values);
    }
    return Status::ok();
}

Status ExpertInputReader::read_pieces(const LayerActivations & activations, int32_t expert, Projection projection,
                                      int64_t n_most, const ReplacedParts & replaced, const TakePiece & take) {
    const bool is_down = projection == Projection::kDown;
    const ActivationChain & chain = activations.facts.chain;
    const std::vector<int32_t> tokens = sample(routed_tokens(activations, expert), n_most);
    if (tokens.empty()) {
        return Status::ok();
    }
    std::map<Projection, Matrix> matrices;
    if (is_down) {
        if (!chain.known()) {
            return Status(StatusCode::kUnsupported, source_.path() + ": the inputs of down cannot be computed for " +
                                                        source_.architecture() + ": " + chain.refusal);
        }
        Status status = load_hot(chain);
        for (const ActivationStep & step : chain.steps) {
            if (!status.is_ok()) {
                return status;
            }
            if (step.kind == Kind::kProduct) {
                Result<Matrix> matrix = load_matrix({activations.shape.layer, expert}, step.projection,
                                                    replaced[static_cast<size_t>(step.projection)]);
                status = matrix.status();
                if (status.is_ok()) {
                    matrices.emplace(step.projection, std::move(matrix).value());
                }
            }
        }
        if (!status.is_ok()) {
            return status;
        }
    }
    ChainGraph graph(*this, chain, expert, matrices);
    for (size_t begin = 0; begin < tokens.size(); begin += kPieceTokens) {
        const size_t end = std::min(tokens.size(), begin + kPieceTokens);
        ExpertInputs piece;
        piece.tokens.assign(tokens.begin() + static_cast<int64_t>(begin), tokens.begin() + static_cast<int64_t>(end));
        piece.n = static_cast<int64_t>(piece.tokens.size());
        fill_inputs(activations, expert, &piece);
        if (is_down) {
            std::vector<float> result;
            const Status status = graph.compute(piece.inputs, piece.n, &result);
            if (!status.is_ok()) {
                return Status(status.code(), source_.path() + ": blk." + std::to_string(activations.shape.layer) +
                                                 " expert " + std::to_string(expert) + ": " + status.message());
            }
            piece.inputs = std::move(result);
            piece.columns = chain.steps.back().width;
        }
        const Status status = take(piece);
        if (!status.is_ok()) {
            return status;
        }
    }
    return Status::ok();
}

Result<ExpertInputs> ExpertInputReader::read(const LayerActivations & activations, int32_t expert,
                                             Projection projection, int64_t n_most, const ReplacedParts & replaced) {
    ExpertInputs all;
    all.columns = activations.shape.columns;
    if (projection == Projection::kDown && activations.facts.chain.known()) {
        all.columns = activations.facts.chain.steps.back().width;
    }
    const Status status =
        read_pieces(activations, expert, projection, n_most, replaced, [&all](const ExpertInputs & piece) {
            all.n += piece.n;
            all.tokens.insert(all.tokens.end(), piece.tokens.begin(), piece.tokens.end());
            all.inputs.insert(all.inputs.end(), piece.inputs.begin(), piece.inputs.end());
            all.weights.insert(all.weights.end(), piece.weights.begin(), piece.weights.end());
            return Status::ok();
        });
    return status.is_ok() ? Result<ExpertInputs>(std::move(all)) : Result<ExpertInputs>(status);
}

}  // namespace edgemoe
