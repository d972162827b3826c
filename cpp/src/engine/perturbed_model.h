// A loaded model some of whose expert matrices are changed on their way from the file to the slot: quantized to a type
// and back, or replaced. For measuring what a change does to the output without writing a file.
#pragma once

#include "base/expert_id.h"
#include "base/status.h"
#include "engine/evaluate.h"
#include "engine/load_options.h"
#include "engine/model.h"
#include "engine/window_evaluator.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace edgemoe {

class PerturbedRows;

// One thread at a time. The changed values are stored in the file's own type: in a bf16 or f16 model they lose a
// little, in a quantized one a lot.
class PerturbedModel {
public:
    // Loads the model for windows of `n_ctx` tokens. `tokens`: what is measured on; whole windows of it are used.
    // kInvalidArgument for less than one window, kUnsupported for a model without routed experts.
    static Result<std::unique_ptr<PerturbedModel>> load(const std::string & path, const LoadOptions & options,
                                                        const std::vector<int32_t> & tokens, uint32_t n_ctx,
                                                        const std::string & scratch_folder);
    ~PerturbedModel();

    const Model & model() const { return *model_; }

    // The model is the file's again.
    void clear();
    // One projection of an expert (expert < 0: of all experts of the layer): quantized to `type` by ggml and back.
    // `importance`: [columns], empty: none. kInvalidArgument for a type that cannot be quantized to, or a width that
    // is not a multiple of its block; kNotFound for a matrix that there is not.
    Status quantize(int32_t layer, int32_t expert, Projection projection, int32_t type,
                    const std::vector<float> & importance = {});
    // One projection of an expert: replaced with these blocks of `type` (GGML_TYPE_F32: floats), rows * columns values.
    // The caller's bytes are copied.
    Status replace(ExpertId id, Projection projection, int32_t type, const std::byte * blocks, size_t bytes);

    // The changed model against the file's, on the tokens given to load(): KL divergence, agreement, perplexity. The
    // file's logits are computed once, at the first call, and kept in an unnamed temporary file in scratch_folder
    // (scored tokens * n_vocab * 4 bytes). `progress` may be empty.
    Result<Evaluation> measure(const JobProgress & progress);

private:
    class Reference;

    PerturbedModel();
    Status compute_reference(const JobProgress & progress);

    std::vector<int32_t> tokens_;
    std::string scratch_folder_;
    PerturbedRows * rows_ = nullptr;  // belongs to the model
    std::unique_ptr<Model> model_;
    std::unique_ptr<WindowEvaluator> evaluator_;
    std::unique_ptr<Reference> reference_;
    bool changed_ = false;  // the cache holds other values than the next measure() wants
};

}  // namespace edgemoe
