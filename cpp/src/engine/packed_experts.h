// The experts of a packed file, gathered from its tensors of one matrix each into stacks of one layer and projection.
#pragma once

#include "base/expert_id.h"
#include "base/status.h"
#include "storage/expert_index.h"

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace edgemoe {

// Not thread-safe.
class PackedExperts {
public:
    // One expert's matrix after the other, by expert number; all of one shape, each of its own type.
    using Stack = std::vector<ExpertPart>;

    // `n_experts`: of every layer.
    explicit PackedExperts(int64_t n_experts) : n_experts_(n_experts) {}

    // kFormat for an expert that the model has not, one that is there twice, or another shape than the stack's.
    Status add(ExpertId id, Projection projection, const ExpertPart & part);
    // kFormat, naming the first matrix that a stack lacks. REQUIRES for what follows: it was ok.
    Status check_whole() const;

    const std::map<std::pair<int32_t, Projection>, Stack> & stacks() const { return stacks_; }

    // The ggml_type that a stack is presented to llama.cpp with, whose graph does not depend on it: the most frequent
    // one, because its blocks fit the rows.
    static int32_t nominal_type(const Stack & stack);

private:
    int64_t n_experts_;
    std::map<std::pair<int32_t, Projection>, Stack> stacks_;
};

}  // namespace edgemoe
