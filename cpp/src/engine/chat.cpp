#include "engine/chat.h"

#include "engine/utf8.h"

#include <algorithm>

namespace edgemoe {

bool has_tokenizer(const Model & model) {
    return llama_vocab_type(model.vocab()) != LLAMA_VOCAB_TYPE_NONE;
}
bool has_chat_template(const Model & model) {
    return llama_model_chat_template(model.handle(), nullptr) != nullptr;
}

namespace {

Status need_tokenizer(const Model & model) {
    return has_tokenizer(model)
               ? Status::ok()
               : Status(StatusCode::kUnsupported, model.source().path() + ": has no tokenizer; give token ids");
}

}  // namespace

Result<std::vector<int32_t>> tokenize(const Model & model, const char * text, size_t size, bool add_special,
                                      bool parse_special) {
    Status status = need_tokenizer(model);
    if (!status.is_ok()) {
        return status;
    }
    const size_t invalid = find_invalid_utf8(text, size);
    if (invalid != size) {
        return Status(StatusCode::kInvalidArgument,
                      "the text is not UTF-8: invalid byte at position " + std::to_string(invalid));
    }
    std::vector<int32_t> tokens(size + 8);
    const auto length = static_cast<int32_t>(size);
    int32_t n = llama_tokenize(model.vocab(), text, length, tokens.data(), static_cast<int32_t>(tokens.size()),
                               add_special, parse_special);
    if (n < 0 && n != INT32_MIN) {
        tokens.resize(static_cast<size_t>(-n));
        n = llama_tokenize(model.vocab(), text, length, tokens.data(), static_cast<int32_t>(tokens.size()), add_special,
                           parse_special);
    }
    if (n < 0) {
        return Status(StatusCode::kInvalidArgument, "the text cannot be tokenized: it is too long");
    }
    tokens.resize(static_cast<size_t>(n));
    return tokens;
}

Result<std::string> detokenize(const Model & model, const int32_t * tokens, size_t n_tokens, bool special) {
    Status status = need_tokenizer(model);
    if (!status.is_ok()) {
        return status;
    }
    const int32_t n_vocab = llama_vocab_n_tokens(model.vocab());
    std::string text;
    std::string piece(256, '\0');
    for (size_t i = 0; i < n_tokens; i++) {
        if (tokens[i] < 0 || tokens[i] >= n_vocab) {
            return Status(StatusCode::kInvalidArgument,
                          "token " + std::to_string(tokens[i]) + " is not in the vocabulary");
        }
        int32_t n = llama_token_to_piece(model.vocab(), tokens[i], piece.data(), static_cast<int32_t>(piece.size()), 0,
                                         special);
        if (n < 0) {
            piece.resize(static_cast<size_t>(-n));
            n = llama_token_to_piece(model.vocab(), tokens[i], piece.data(), static_cast<int32_t>(piece.size()), 0,
                                     special);
        }
        text.append(piece, 0, static_cast<size_t>(std::max(0, n)));
    }
    return text;
}

Result<std::string> apply_chat_template(const Model & model, const std::vector<ChatMessage> & messages,
                                        bool add_assistant) {
    const char * format = llama_model_chat_template(model.handle(), nullptr);
    if (format == nullptr) {
        return Status(StatusCode::kUnsupported,
                      model.source().path() + ": has no chat template; give the prompt as the model expects it");
    }
    std::vector<llama_chat_message> chat;
    size_t size = 1024;
    for (const ChatMessage & message : messages) {
        chat.push_back({message.role, message.content});
        size += 2 * std::string(message.content).size();
    }
    std::string text(size, '\0');
    int32_t n = llama_chat_apply_template(format, chat.data(), chat.size(), add_assistant, text.data(),
                                          static_cast<int32_t>(text.size()));
    if (n > static_cast<int32_t>(text.size())) {
        text.resize(static_cast<size_t>(n));
        n = llama_chat_apply_template(format, chat.data(), chat.size(), add_assistant, text.data(),
                                      static_cast<int32_t>(text.size()));
    }
    if (n < 0) {
        return Status(StatusCode::kUnsupported, model.source().path() + ": llama.cpp does not know its chat template");
    }
    text.resize(static_cast<size_t>(n));
    return text;
}

}  // namespace edgemoe
