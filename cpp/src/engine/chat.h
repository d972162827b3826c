// Text in and out of tokens: tokenizer and chat template of the model.
#pragma once

#include "base/status.h"
#include "engine/model.h"

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace edgemoe {

bool has_tokenizer(const Model & model);
bool has_chat_template(const Model & model);

// kInvalidArgument for text that is not UTF-8, kUnsupported for a model without a tokenizer.
Result<std::vector<int32_t>> tokenize(const Model & model, const char * text, size_t size, bool add_special,
                                      bool parse_special);

// The bytes of the tokens, which may end inside a character. `special`: special tokens by their names, otherwise
// nothing.
Result<std::string> detokenize(const Model & model, const int32_t * tokens, size_t n_tokens, bool special);

struct ChatMessage {
    const char * role = "";
    const char * content = "";
};

// By llama.cpp's own templates (llama_chat_apply_template). kUnsupported if the model has none, or one that llama.cpp
// does not know.
Result<std::string> apply_chat_template(const Model & model, const std::vector<ChatMessage> & messages,
                                        bool add_assistant);

}  // namespace edgemoe
