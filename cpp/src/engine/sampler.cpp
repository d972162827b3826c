#include "engine/sampler.h"

#include <cmath>
#include <cstdlib>

namespace edgemoe {

namespace {

const SamplingOptions kLibraryDefaults = {0.8f, 40, 0.95f, 0.05f, 1.0f, 64, LLAMA_DEFAULT_SEED};

// The model's own figure, if it has one.
bool model_default(const llama_model & model, llama_model_meta_key key, double * value) {
    char text[64] = {};
    if (llama_model_meta_val_str(&model, llama_model_meta_key_str(key), text, sizeof(text)) <= 0) {
        return false;
    }
    char * end = nullptr;
    *value = std::strtod(text, &end);
    return end != text && std::isfinite(*value);
}

float choose(const llama_model & model, float given, llama_model_meta_key key, float fallback) {
    double value = 0;
    return !std::isnan(given) ? given : model_default(model, key, &value) ? static_cast<float>(value) : fallback;
}

int32_t choose(const llama_model & model, int32_t given, llama_model_meta_key key, int32_t fallback) {
    double value = 0;
    return given != kModelDefault ? given : model_default(model, key, &value) ? static_cast<int32_t>(value) : fallback;
}

}  // namespace

LlamaSampler make_sampler(const llama_model & model, const SamplingOptions & options) {
    const SamplingOptions & standard = kLibraryDefaults;
    const float temperature =
        choose(model, options.temperature, LLAMA_MODEL_META_KEY_SAMPLING_TEMP, standard.temperature);
    const int32_t top_k = choose(model, options.top_k, LLAMA_MODEL_META_KEY_SAMPLING_TOP_K, standard.top_k);
    const float top_p = choose(model, options.top_p, LLAMA_MODEL_META_KEY_SAMPLING_TOP_P, standard.top_p);
    const float min_p = choose(model, options.min_p, LLAMA_MODEL_META_KEY_SAMPLING_MIN_P, standard.min_p);
    const float penalty =
        choose(model, options.repeat_penalty, LLAMA_MODEL_META_KEY_SAMPLING_PENALTY_REPEAT, standard.repeat_penalty);
    const int32_t last_n =
        choose(model, options.repeat_last_n, LLAMA_MODEL_META_KEY_SAMPLING_PENALTY_LAST_N, standard.repeat_last_n);

    const int32_t n_vocab = llama_vocab_n_tokens(llama_model_get_vocab(&model));
    llama_sampler * chain = llama_sampler_chain_init(llama_sampler_chain_default_params());
    if (penalty != 1.0f && last_n != 0) {
        llama_sampler_chain_add(chain, llama_sampler_init_penalties(n_vocab, last_n, penalty, 0.0f, 0.0f));
    }
    if (temperature <= 0) {
        llama_sampler_chain_add(chain, llama_sampler_init_greedy());
        return LlamaSampler(chain);
    }
    if (top_k > 0) {
        llama_sampler_chain_add(chain, llama_sampler_init_top_k(top_k));
    }
    llama_sampler_chain_add(chain, llama_sampler_init_top_p(top_p, 1));
    llama_sampler_chain_add(chain, llama_sampler_init_min_p(min_p, 1));
    llama_sampler_chain_add(chain, llama_sampler_init_temp(temperature));
    llama_sampler_chain_add(chain, llama_sampler_init_dist(options.seed));
    return LlamaSampler(chain);
}

}  // namespace edgemoe
