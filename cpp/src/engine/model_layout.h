// A model as llama.cpp lays it out: tokenizer, shapes and buffer types of all tensors, but no memory for them yet. What
// it will need can be added up before any is spent, and then the same object is filled (engine/hot_weights.h).
#pragma once

#include "backend/expert_buffer_type.h"
#include "base/status.h"
#include "engine/gguf_source.h"
#include "engine/llama_handles.h"

namespace edgemoe {

// Fails as llama.cpp fails: kFormat with its reason. Expert tensors are given `experts` as their buffer type, which
// outlives the model.
Result<LlamaModel> lay_out_model(const GgufSource & source, ExpertBufferType & experts);

}  // namespace edgemoe
