/* Loads a model with a memory budget, generates, and prints the text as it comes and what it took. */
#include <edgemoe/edgemoe.h>

#include <stdio.h>
#include <string.h>

static bool print(const char * text, size_t size, void * user_data) {
    (void)user_data;
    return fwrite(text, 1, size, stdout) == size && fflush(stdout) == 0; /* false stops */
}

int main(int argc, char ** argv) {
    if (argc != 4) {
        fprintf(stderr, "usage: %s MODEL.gguf MEMORY_IN_MIB PROMPT\n", argv[0]);
        return 2;
    }
    unsigned long long mebibytes = 0;
    if (sscanf(argv[2], "%llu", &mebibytes) != 1) {
        fprintf(stderr, "%s: not a number of MiB\n", argv[2]);
        return 2;
    }
    edgemoe_load_params params;
    edgemoe_load_params_init(&params);
    params.memory_bytes = mebibytes << 20; /* 0: what is free */

    edgemoe_model * model = NULL;
    edgemoe_error error;
    if (edgemoe_load(argv[1], &params, &model, &error) != EDGEMOE_OK) {
        fprintf(stderr, "%s\n", error.message);
        return 1;
    }

    edgemoe_generate_params generate;
    edgemoe_generate_params_init(&generate);
    generate.max_tokens = 32;
    generate.temperature = 0; /* greedy: the same text every time */
    edgemoe_stop_reason reason = EDGEMOE_STOP_LENGTH;
    const edgemoe_code code =
        edgemoe_generate(model, argv[3], strlen(argv[3]), &generate, print, NULL, &reason, &error);
    putchar('\n');
    if (code != EDGEMOE_OK) {
        fprintf(stderr, "%s\n", error.message);
        edgemoe_free(model);
        return 1;
    }

    edgemoe_model_info info;
    edgemoe_model_info_init(&info);
    edgemoe_info(model, &info, NULL);
    edgemoe_stats stats;
    edgemoe_stats_init(&stats);
    edgemoe_stats_get(model, &stats, NULL);
    fprintf(stderr, "%s, %s: %llu tokens, %.1f tokens/s, %.0f%% of the experts were in the cache, %.1f MiB were read\n",
            info.name, info.mode, (unsigned long long)stats.generated_tokens, stats.generation_tokens_per_second,
            100 * stats.hit_rate, (double)stats.read_bytes / (1 << 20));
    edgemoe_free(model);
    return 0;
}
