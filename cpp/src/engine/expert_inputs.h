// What one expert's projection saw over a text: the inputs of gate and up from the spilled activations, those of down
// computed from the expert's own weights with ggml's kernels and the activation that the model's graph uses.
#pragma once

#include "backend/expert_layout.h"
#include "base/expert_id.h"
#include "base/status.h"
#include "engine/activation_spill.h"
#include "engine/gguf_source.h"
#include "engine/llama_handles.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace edgemoe {

struct ExpertInputs {
    int64_t n = 0;  // tokens
    int64_t columns = 0;
    std::vector<int32_t> tokens;  // [n], rising
    std::vector<float> inputs;    // [n, columns]
    std::vector<float> weights;   // [n]: how much a squared error of this token's result counts: the router's weight
                                  // squared, or 1 where it is part of the input
};

// A matrix in ggml's blocks of `type`, borrowed: in place of the file's when down's inputs are computed.
struct MatrixView {
    int32_t type = 0;
    const std::byte * data = nullptr;  // nullptr: the file's
};
using ReplacedParts = std::array<MatrixView, kProjectionCount>;  // by Projection

// One thread at a time; computes with `n_threads` threads. Memory: one expert's matrices and products.
class ExpertInputReader {
public:
    // `source` outlives it.
    ExpertInputReader(const GgufSource & source, int n_threads);
    ~ExpertInputReader();

    // Inputs of `projection` of an expert of activations.shape.layer, in the order of the tokens. At most `n_most`
    // tokens, evenly spaced over those routed to it (the i-th is the one at (2 i + 1) n / (2 n_most)); 0: all.
    // kUnsupported for down, naming architecture and operation, where the graph's activation is not understood. n is 0
    // if no token was routed to the expert.
    Result<ExpertInputs> read(const LayerActivations & activations, int32_t expert, Projection projection,
                              int64_t n_most = 0, const ReplacedParts & replaced = {});

    // The same in pieces of at most kPieceTokens tokens, so that only one of them is in memory; not ok from `take` ends
    // it.
    using TakePiece = std::function<Status(const ExpertInputs & piece)>;
    Status read_pieces(const LayerActivations & activations, int32_t expert, Projection projection, int64_t n_most,
                       const ReplacedParts & replaced, const TakePiece & take);
    static constexpr int64_t kPieceTokens = 512;

private:
    struct Matrix;
    class ChainGraph;
    Result<Matrix> load_matrix(ExpertId id, Projection projection, const MatrixView & replaced) const;
    Status load_hot(const ActivationChain & chain);

    const GgufSource & source_;
    int n_threads_;
    ExpertLayout layout_;
    std::map<std::string, std::vector<float>> hot_;  // biases and scales of experts, by tensor name
    GgmlThreadPool threads_;
    std::vector<std::byte> memory_;  // of the piece that is computed
    std::vector<uint8_t> work_;
};

// The tokens that were routed to an expert, rising.
std::vector<int32_t> routed_tokens(const LayerActivations & activations, int32_t expert);

}  // namespace edgemoe
