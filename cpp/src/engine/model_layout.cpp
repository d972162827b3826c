#include "engine/model_layout.h"

#include "engine/log.h"
#include "engine/row_tables.h"
#include "engine/virtual_gguf.h"

#include <string>

namespace edgemoe {

Result<LlamaModel> lay_out_model(const GgufSource & source, ExpertBufferType & flash,
                                 const std::vector<size_t> & row_tables) {
    Result<std::unique_ptr<VirtualGguf>> gguf = VirtualGguf::create(source, VirtualGguf::Content::kHeader);
    if (!gguf.is_ok()) {
        return gguf.status();
    }
    std::vector<std::string> patterns = {kExpertTensorPattern};
    for (const size_t table : row_tables) {
        patterns.push_back(exact_pattern(source.tensors()[table].name));
    }
    std::vector<llama_model_tensor_buft_override> overrides;
    for (const std::string & pattern : patterns) {
        overrides.push_back({pattern.c_str(), flash.handle()});
    }
    overrides.push_back({nullptr, nullptr});
    llama_model_params params = llama_model_default_params();
    params.load_mode = LLAMA_LOAD_MODE_NONE;  // so that weights may be interleaved for the CPU
    params.lazy_mode = LLAMA_LAZY_MODE_OFF;
    params.tensor_buft_overrides = overrides.data();
    params.no_alloc = true;
    ErrorCapture errors;
    LlamaModel model(llama_model_load_from_file_ptr(gguf.value()->stream(), params));
    if (model == nullptr) {
        return Status(StatusCode::kFormat, source.path() + ": llama.cpp cannot load it: " + errors.first());
    }
    return model;
}

}  // namespace edgemoe
