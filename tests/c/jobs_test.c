/* Evaluating, profiling and packing through the C API. argv[1]: a small model with routed experts and a tokenizer;
 * argv[2]: a folder for files. */
#include "edgemoe/edgemoe.h"

#include "check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WINDOW 32
#define TOKENS (2 * WINDOW)

static const char TEXT[] =
    "def fibonacci(n):\n    a, b = 0, 1\n    for _ in range(n):\n        a, b = b, a + b\n    return a\n\n\n"
    "class Stack:\n    def __init__(self):\n        self.items = []\n\n    def push(self, item):\n"
    "        self.items.append(item)\n\n    def pop(self):\n        return self.items.pop()\n";

struct calls {
    int n;
    int stop_after; /* 0: never */
};

static bool count(const char * step, double fraction, double seconds_left, void * user_data) {
    struct calls * calls = user_data;
    CHECK(step[0] != '\0');
    CHECK(fraction >= 0 && fraction <= 1);
    (void)seconds_left;
    calls->n++;
    return calls->stop_after == 0 || calls->n < calls->stop_after;
}

static void a_model_does_not_differ_from_itself(const char * path) {
    edgemoe_error error;
    struct calls calls = {0, 0};
    edgemoe_evaluate_params params;
    edgemoe_evaluate_params_init(&params);
    CHECK(params.n_ctx == 512);
    params.n_ctx = WINDOW;
    params.n_tokens = TOKENS;
    params.against = path;
    params.progress = count;
    params.progress_user_data = &calls;
    edgemoe_evaluation evaluation;
    edgemoe_evaluation_init(&evaluation);
    CHECK_OK(edgemoe_evaluate(path, TEXT, strlen(TEXT), &params, &evaluation, &error));
    CHECK(evaluation.tokens == TOKENS / 2 - 2);
    CHECK(evaluation.perplexity > 1 && evaluation.perplexity == evaluation.base_perplexity);
    CHECK(evaluation.kl_divergence == 0 && evaluation.argmax_agreement == 1);
    CHECK(calls.n > 0);
    calls.n = 0;
    calls.stop_after = 1;
    CHECK(edgemoe_evaluate(path, TEXT, strlen(TEXT), &params, &evaluation, &error) == EDGEMOE_CANCELLED);
}

static void a_profile_is_written_and_opened(const char * path, const char * output) {
    edgemoe_error error;
    edgemoe_profile_params params;
    edgemoe_profile_params_init(&params);
    params.n_ctx = WINDOW;
    params.n_tokens = TOKENS;
    params.sensitivity = false; /* takes minutes */
    edgemoe_profile * made = NULL;
    CHECK_OK(edgemoe_profile_run(path, TEXT, strlen(TEXT), output, &params, &made, &error));
    edgemoe_profile * opened = NULL;
    CHECK_OK(edgemoe_profile_open(output, &opened, &error));
    edgemoe_profile_info info, other;
    edgemoe_profile_info_init(&info);
    edgemoe_profile_info_init(&other);
    CHECK_OK(edgemoe_profile_info_get(made, &info, &error));
    CHECK_OK(edgemoe_profile_info_get(opened, &other, &error));
    CHECK(info.n_tokens == TOKENS && other.n_tokens == TOKENS);
    CHECK(info.n_layers > 0 && other.n_layers == info.n_layers);
    CHECK(strcmp(info.architecture, other.architecture) == 0);
    CHECK(info.n_hardly_reached > 0); /* of so short a text */
    edgemoe_layer_profile layer;
    edgemoe_layer_profile_init(&layer);
    for (int32_t i = 0; i < info.n_layers; i++) {
        CHECK_OK(edgemoe_profile_layer_get(opened, (size_t)i, &layer, &error));
        uint64_t sum = 0;
        for (int32_t expert = 0; expert < layer.n_experts; expert++) {
            sum += layer.counts[expert];
        }
        CHECK(layer.n_tokens == TOKENS);
        CHECK(sum == layer.n_tokens * (uint64_t)layer.n_experts_used);
        CHECK(layer.input_columns > 0 && layer.input_moments[0] >= 0);
    }
    CHECK(edgemoe_profile_layer_get(opened, (size_t)info.n_layers, &layer, &error) == EDGEMOE_INVALID_ARGUMENT);
    edgemoe_profile_free(opened);
    edgemoe_profile_free(made);
    edgemoe_profile_free(NULL);

    CHECK(info.map_bytes > 0 && other.map_bytes == info.map_bytes);
    edgemoe_text report = {NULL, 0};
    CHECK_OK(edgemoe_judge_predictors(path, output, TEXT, strlen(TEXT), NULL, &report, &error));
    CHECK(strlen(report.data) == report.size);
    CHECK(strstr(report.data, "\"look-ahead\"") != NULL && strstr(report.data, "\"next-use\"") != NULL);
    edgemoe_text_free(&report);
    edgemoe_load_params load;
    edgemoe_load_params_init(&load);
    load.n_ctx = WINDOW;
    load.profile = output;
    edgemoe_model * model = NULL;
    CHECK_OK(edgemoe_load(path, &load, &model, &error));
    edgemoe_free(model);
    remove(output);
}

static void wrong_calls_are_refused(const char * path, const char * output) {
    edgemoe_error error;
    edgemoe_evaluation evaluation;
    edgemoe_evaluation_init(&evaluation);
    edgemoe_profile * profile = NULL;
    CHECK(edgemoe_evaluate(NULL, TEXT, 1, NULL, &evaluation, &error) == EDGEMOE_INVALID_ARGUMENT);
    CHECK(edgemoe_evaluate(path, TEXT, strlen(TEXT), NULL, &evaluation, &error) == EDGEMOE_INVALID_ARGUMENT);
    CHECK(strstr(error.message, "too short") != NULL);
    CHECK(edgemoe_profile_run(path, TEXT, strlen(TEXT), NULL, NULL, &profile, &error) == EDGEMOE_INVALID_ARGUMENT);
    CHECK(edgemoe_profile_open(output, &profile, &error) == EDGEMOE_NOT_FOUND);
    CHECK(edgemoe_profile_open(path, &profile, &error) == EDGEMOE_FORMAT);
    CHECK(edgemoe_profile_open(path, NULL, NULL) == EDGEMOE_INVALID_ARGUMENT);
    CHECK(profile == NULL);
    edgemoe_text report = {NULL, 0};
    CHECK(edgemoe_judge_predictors(path, output, TEXT, strlen(TEXT), NULL, NULL, &error) == EDGEMOE_INVALID_ARGUMENT);
    CHECK(edgemoe_judge_predictors(path, output, TEXT, strlen(TEXT), NULL, &report, &error) == EDGEMOE_NOT_FOUND);
    CHECK(report.data == NULL);

    edgemoe_pack_params params;
    edgemoe_pack_params_init(&params);
    CHECK(params.error_feedback && !params.dry_run && params.types == NULL);
    CHECK(params.as_good_as == NULL && params.target_cache_bytes == 0);
    CHECK(edgemoe_pack(path, NULL, output, &params, NULL, &error) == EDGEMOE_INVALID_ARGUMENT);
    CHECK(edgemoe_pack(path, output, NULL, &params, NULL, &error) == EDGEMOE_INVALID_ARGUMENT);
    CHECK(edgemoe_pack(path, output, output, &params, NULL, &error) == EDGEMOE_INVALID_ARGUMENT);
    CHECK(strstr(error.message, "one limit") != NULL);
    params.bits = 3;
    params.as_good_as = path;
    CHECK(edgemoe_pack(path, output, output, &params, NULL, &error) == EDGEMOE_INVALID_ARGUMENT);
    params.as_good_as = NULL;
    CHECK(edgemoe_pack(path, output, output, &params, NULL, &error) == EDGEMOE_NOT_FOUND);
    params.types = "q9_z";
    CHECK(edgemoe_pack(path, output, output, &params, NULL, &error) == EDGEMOE_INVALID_ARGUMENT);
    CHECK(strstr(error.message, "q9_z") != NULL);
}

int main(int argc, char ** argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: %s MODEL.gguf FOLDER\n", argv[0]);
        return 2;
    }
    char output[4096];
    snprintf(output, sizeof(output), "%s/jobs-test.profile", argv[2]);
    remove(output);
    a_model_does_not_differ_from_itself(argv[1]);
    a_profile_is_written_and_opened(argv[1], output);
    wrong_calls_are_refused(argv[1], output);
    return 0;
}
