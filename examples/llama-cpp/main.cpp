// Greedy text by llama.cpp's own functions, with experts that stream from flash. What edgemoe adds is marked.
#include <edgemoe/edgemoe-ggml.h>  // edgemoe
#include <llama.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

namespace {

constexpr int kThreads = 2;
constexpr int kMaxTokens = 32;

int failed(const char * what, const char * why) {
    std::fprintf(stderr, "%s: %s\n", what, why);
    return 1;
}

std::string piece_of(const llama_vocab * vocab, llama_token token) {
    char piece[256];
    const int n = llama_token_to_piece(vocab, token, piece, sizeof(piece), 0, false);
    return std::string(piece, n > 0 ? static_cast<size_t>(n) : 0);
}

// Prints what follows `prompt`; false where llama_decode failed.
bool generate(llama_context * context, const llama_vocab * vocab, const char * prompt) {
    std::vector<llama_token> tokens(std::strlen(prompt) + 8);
    const int n = llama_tokenize(vocab, prompt, static_cast<int>(std::strlen(prompt)), tokens.data(),
                                 static_cast<int>(tokens.size()), /*add_special=*/true, /*parse_special=*/false);
    tokens.resize(n > 0 ? static_cast<size_t>(n) : 0);
    llama_sampler * sampler = llama_sampler_init_greedy();
    bool good = !tokens.empty();
    for (int i = 0; good && i < kMaxTokens; i++) {
        good = llama_decode(context, llama_batch_get_one(tokens.data(), static_cast<int>(tokens.size()))) == 0;
        if (good) {
            tokens = {llama_sampler_sample(sampler, context, -1)};
            if (llama_vocab_is_eog(vocab, tokens[0])) {
                break;
            }
            std::fputs(piece_of(vocab, tokens[0]).c_str(), stdout);
            std::fflush(stdout);
        }
    }
    std::putchar('\n');
    llama_sampler_free(sampler);
    return good;
}

}  // namespace

int main(int argc, char ** argv) {
    if (argc != 4) {
        std::fprintf(stderr, "usage: %s MODEL.gguf EXPERT_CACHE_IN_MIB PROMPT\n", argv[0]);
        return 2;
    }
    llama_log_set([](ggml_log_level, const char *, void *) {}, nullptr);
    llama_backend_init();
    ggml_threadpool_params pool_params = ggml_threadpool_params_default(kThreads);
    ggml_threadpool_t pool = ggml_threadpool_new(&pool_params);

    // edgemoe: a cache for the experts of this model ...
    edgemoe_ggml_params stream_params;
    edgemoe_ggml_params_init(&stream_params);
    stream_params.expert_cache_bytes = std::strtoull(argv[2], nullptr, 10) << 20;  // 0: room for all experts
    stream_params.threadpool = pool;
    edgemoe_ggml * streams = nullptr;
    edgemoe_error error;
    if (edgemoe_ggml_open(argv[1], &stream_params, &streams, &error) != EDGEMOE_OK) {
        return failed(argv[1], error.message);
    }

    // edgemoe: ... and the model loaded through it.
    const llama_model_tensor_buft_override overrides[] = {
        {edgemoe_ggml_pattern(), edgemoe_ggml_buffer_type(streams)},
        {nullptr, nullptr},
    };
    llama_model_params model_params = llama_model_default_params();
    model_params.load_mode = LLAMA_LOAD_MODE_NONE;
    model_params.tensor_buft_overrides = overrides;
    llama_model * model = llama_model_load_from_file_ptr(edgemoe_ggml_file(streams), model_params);
    if (model == nullptr) {
        edgemoe_ggml_take_failure(streams, &error);
        return failed("cannot load the model", error.message);
    }

    // From here on the program is as it was.
    llama_context_params context_params = llama_context_default_params();
    context_params.n_ctx = 512;
    context_params.n_threads = kThreads;
    context_params.n_threads_batch = kThreads;
    llama_context * context = llama_init_from_model(model, context_params);
    if (context == nullptr) {
        return failed("cannot make a context", argv[1]);
    }
    llama_attach_threadpool(context, pool, pool);
    const bool good = generate(context, llama_model_get_vocab(model), argv[3]);

    if (!good) {
        edgemoe_ggml_take_failure(streams, &error);  // edgemoe: why llama_decode failed
        failed("cannot evaluate the tokens", error.message);
    }
    edgemoe_ggml_stats stats;
    edgemoe_ggml_stats_init(&stats);
    edgemoe_ggml_stats_get(streams, &stats, nullptr);
    std::fprintf(stderr, "%llu of %llu experts were in the cache, %.1f MiB were read\n",
                 static_cast<unsigned long long>(stats.expert_hits),
                 static_cast<unsigned long long>(stats.expert_requests),
                 static_cast<double>(stats.read_bytes) / (1 << 20));

    llama_free(context);
    llama_model_free(model);
    edgemoe_ggml_free(streams);  // edgemoe: after the model
    ggml_threadpool_free(pool);
    llama_backend_free();
    return good ? 0 : 1;
}
