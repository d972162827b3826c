#include "predict/token_routing.h"

#include <algorithm>

namespace edgemoe {

TokenRouting::TokenRouting(size_t n_layers, size_t n_used)
    : n_layers_(n_layers),
      n_used_(n_used),
      tokens_(n_layers == 0 ? 0 : kMostTokens, -1),
      ids_(kMostTokens * n_layers * n_used, -1) {}

uint64_t TokenRouting::memory_bytes(size_t n_layers, size_t n_used) {
    return kMostTokens * (1 + n_layers * n_used) * sizeof(int32_t);
}

void TokenRouting::record(int32_t token, size_t layer, ChosenExperts chosen) {
    if (token < 0) {
        return;
    }
    if (tokens_[place(token)] != token) {
        tokens_[place(token)] = token;
        std::fill_n(ids_.begin() + static_cast<std::ptrdiff_t>(first_id(token, 0)), n_layers_ * n_used_, -1);
    }
    const auto ids = ids_.begin() + static_cast<std::ptrdiff_t>(first_id(token, layer));
    const size_t n = std::min(chosen.n, n_used_);
    std::copy_n(chosen.ids, n, ids);
    std::fill(ids + static_cast<std::ptrdiff_t>(n), ids + static_cast<std::ptrdiff_t>(n_used_), -1);
}

ChosenExperts TokenRouting::find(int32_t token, size_t layer) const {
    if (token < 0 || tokens_[place(token)] != token) {
        return {};
    }
    const int32_t * ids = ids_.data() + first_id(token, layer);
    return {ids, static_cast<size_t>(std::find(ids, ids + n_used_, -1) - ids)};
}

}  // namespace edgemoe
