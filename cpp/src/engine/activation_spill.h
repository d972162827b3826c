// What the experts of a text saw, on disk: the FFN input of every MoE layer and token in 16 bits, and the routing.
// Written once, window by window, while the model evaluates the text; read layer by layer. A temporary file of a few
// gigabytes, which is what bounds the memory of everything that is computed from it.
#pragma once

#include "base/status.h"
#include "engine/activation_chain.h"

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace edgemoe {

// What a layer's part of the file looks like. Known before the first token, but for what the graph tells.
struct SpillLayer {
    int32_t layer = 0;
    int32_t columns = 0;  // of an FFN input
    int32_t n_experts = 0;
    int32_t n_used = 0;  // room for this many experts a token; what the graph uses may be fewer
};

// What the graph tells about a layer.
struct LayerFacts {
    bool seen = false;                    // the model's graph evaluates this layer's experts (extra layers: not)
    bool weights_before_experts = false;  // the router's weight multiplies the expert's input, not its result
    ActivationChain chain;
};

struct SpillShape {
    uint64_t fingerprint = 0;  // of model, tokens and windows: what the file is for
    int64_t n_tokens = 0;
    std::vector<SpillLayer> layers;
};

// One layer, all tokens, in memory: n_tokens * columns * 2 bytes and the routing.
struct LayerActivations {
    SpillLayer shape;
    LayerFacts facts;
    int64_t n_tokens = 0;
    std::vector<uint16_t> inputs;  // ggml_fp16_t, [n_tokens, columns]; times scales[token]
    std::vector<float> scales;     // [n_tokens], 1 but for rows that 16 bits do not hold
    std::vector<int16_t> ids;      // [n_tokens, n_used]; -1: none
    std::vector<float> weights;    // [n_tokens, n_used]: the router's, as the graph multiplies with them

    // Decodes the inputs of `tokens` (numbers below n_tokens) to [tokens.size(), columns].
    void decode(const std::vector<int32_t> & tokens, float * rows) const;
};

// One thread at a time.
class ActivationSpill {
public:
    // Bytes of the file.
    static uint64_t size_bytes(const SpillShape & shape);

    // Opens the file at `path` if it is of this shape, whole or partly written (n_written()), otherwise makes it anew
    // with all its room. kIo; naming both sizes, if the disk has too little room. The file stays when the
    // object goes; remove() takes it away.
    static Result<std::unique_ptr<ActivationSpill>> open(const std::string & path, const SpillShape & shape);
    ~ActivationSpill();
    ActivationSpill(const ActivationSpill &) = delete;
    ActivationSpill & operator=(const ActivationSpill &) = delete;

    const SpillShape & shape() const { return shape_; }
    const std::string & path() const { return path_; }
    int64_t n_written() const { return n_written_; }  // tokens, from the first, of all layers
    bool complete() const { return n_written_ == shape_.n_tokens; }

    // What the graph told; the same for all windows. `layer`: position in shape().layers.
    const LayerFacts & facts(size_t layer) const { return facts_[layer]; }
    Status set_facts(size_t layer, const LayerFacts & facts);

    // Tokens [first, first + n) of a layer. inputs: [n, columns]; ids, weights: [n, n_used], missing ones -1 and 0.
    Status write(size_t layer, int64_t first, int64_t n, const float * inputs, const int16_t * ids,
                 const float * weights);
    // All layers of the tokens before `n_written` are there. Every few seconds, and at the end, this is made to last:
    // from there a later open() goes on.
    Status advance(int64_t n_written);

    Result<LayerActivations> read_layer(size_t layer) const;
    // The routing alone: `inputs` and `scales` stay empty.
    Result<LayerActivations> read_routing(size_t layer) const;

    // Deletes the file, once the object is gone; best effort.
    static void remove(const std::string & path);

private:
    ActivationSpill(std::string path, SpillShape shape);
    Status create_file();
    bool reuse_file();
    Status write_at(const void * data, uint64_t bytes, uint64_t offset);
    Status read_at(void * data, uint64_t bytes, uint64_t offset) const;

    std::string path_;
    SpillShape shape_;
    int fd_ = -1;
    int64_t n_written_ = 0;
    std::chrono::steady_clock::time_point last_sync_;
    std::vector<uint64_t> offsets_;  // of each layer's part
    std::vector<LayerFacts> facts_;
};

}  // namespace edgemoe
