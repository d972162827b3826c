// A model as llama.cpp lays it out: tokenizer, shapes and buffer types of all tensors, but no memory for them yet. What
// it will need can be added up before any is spent, and then the same object is filled (engine/hot_weights.h).
#pragma once

#include "backend/expert_buffer_type.h"
#include "base/status.h"
#include "engine/gguf_source.h"
#include "engine/llama_handles.h"

#include <cstddef>
#include <vector>

namespace edgemoe {

// Fails as llama.cpp fails: kFormat with its reason. Expert tensors are given `flash` as their buffer type, which
// outlives the model, and so are `row_tables`, tensors by number.
Result<LlamaModel> lay_out_model(const GgufSource & source, ExpertBufferType & flash,
                                 const std::vector<size_t> & row_tables);

}  // namespace edgemoe
