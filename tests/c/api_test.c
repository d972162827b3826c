/* The C API as an embedder uses it. argv[1]: a small model with routed experts and a tokenizer. */
#include "edgemoe/edgemoe.h"

#include "check.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_TEXT 8192
#define MAX_TOKENS 12
static const char PROMPT[] = "def fibonacci(n):\n";

/* ---- what is generated ---- */

struct text {
    char data[MAX_TEXT];
    size_t size;
    int n_pieces;
    int stop_after; /* pieces; 0: never */
};

static bool collect(const char * text, size_t size, void * user_data) {
    struct text * out = user_data;
    CHECK(out->size + size < MAX_TEXT);
    memcpy(out->data + out->size, text, size);
    out->size += size;
    out->n_pieces++;
    return out->stop_after == 0 || out->n_pieces < out->stop_after;
}

static edgemoe_generate_params greedy(int32_t max_tokens) {
    edgemoe_generate_params params;
    edgemoe_generate_params_init(&params);
    params.max_tokens = max_tokens;
    params.temperature = 0.0f;
    params.ignore_eos = true;
    return params;
}

static struct text generate(edgemoe_model * model, const char * prompt) {
    const edgemoe_generate_params params = greedy(MAX_TOKENS);
    struct text text = {{0}, 0, 0, 0};
    edgemoe_error error;
    edgemoe_stop_reason reason = EDGEMOE_STOP_CANCELLED;
    CHECK_OK(edgemoe_generate(model, prompt, strlen(prompt), &params, collect, &text, &reason, &error));
    CHECK(reason == EDGEMOE_STOP_LENGTH);
    CHECK(text.size > 0);
    return text;
}

static bool same_text(const struct text * a, const struct text * b) {
    return a->size == b->size && memcmp(a->data, b->data, a->size) == 0;
}

/* A model whose cache holds a third of its experts, so that it streams. */
static edgemoe_model * load(const char * path, int32_t n_threads) {
    edgemoe_error error;
    edgemoe_load_params params;
    edgemoe_load_params_init(&params);
    edgemoe_model_info info;
    edgemoe_model_info_init(&info);
    edgemoe_description * description = NULL;
    CHECK_OK(edgemoe_inspect(path, &params, &info, &description, &error));
    CHECK(info.expert_bytes > 0 && info.n_experts > 1);
    params.expert_cache_bytes = info.expert_bytes / 3;
    params.n_ctx = 256;
    params.n_threads = n_threads;
    params.prefetch = EDGEMOE_PREFETCH_OFF; /* a replay knows of no reading ahead */
    edgemoe_description_free(description);

    edgemoe_model * model = NULL;
    CHECK_OK(edgemoe_load(path, &params, &model, &error));
    CHECK(model != NULL);
    CHECK(error.code == EDGEMOE_OK && error.message[0] == '\0');
    return model;
}

/* ---- tests ---- */

static void models_describe_themselves(edgemoe_model * model) {
    edgemoe_error error;
    edgemoe_model_info info;
    edgemoe_model_info_init(&info);
    CHECK_OK(edgemoe_info(model, &info, &error));
    CHECK(strcmp(info.mode, "streamed") == 0);
    CHECK(info.has_tokenizer);
    CHECK(info.n_ctx == 256 && info.n_moe_layers > 0 && info.n_vocab > 0);
    CHECK(info.expert_cache_bytes > 0 && info.expert_cache_bytes < info.expert_bytes);
    CHECK(strlen(edgemoe_version()) >= 5);

    /* A caller that knows less of the struct gets what it knows, and nothing is written behind it. */
    edgemoe_model_info shorter;
    memset(&shorter, 0x5A, sizeof(shorter));
    shorter.struct_size = offsetof(edgemoe_model_info, mode);
    CHECK_OK(edgemoe_info(model, &shorter, &error));
    CHECK(shorter.struct_size == offsetof(edgemoe_model_info, mode));
    CHECK(strcmp(shorter.architecture, info.architecture) == 0);
    const char * end = (const char *)&shorter + sizeof(shorter);
    for (const char * byte = (const char *)&shorter + offsetof(edgemoe_model_info, mode); byte < end; byte++) {
        CHECK(*byte == 0x5A);
    }
}

static void greedy_generation_repeats_itself(edgemoe_model * model) {
    const struct text first = generate(model, PROMPT);
    const struct text second = generate(model, PROMPT);
    CHECK(same_text(&first, &second));
    edgemoe_error error;
    edgemoe_stats stats;
    edgemoe_stats_init(&stats);
    CHECK_OK(edgemoe_stats_get(model, &stats, &error));
    CHECK(stats.generated_tokens == MAX_TOKENS);
    CHECK(stats.prompt_tokens > 0 && stats.prompt_seconds > 0 && stats.generation_seconds > 0);
    CHECK(stats.expert_requests > 0 && stats.expert_hits <= stats.expert_requests);
    CHECK(stats.hit_rate >= 0 && stats.hit_rate <= 1);
    CHECK(stats.resident_experts > 0 && stats.peak_memory_bytes > 0);
}

static void callbacks_stop_generation(edgemoe_model * model) {
    const struct text whole = generate(model, PROMPT);
    const edgemoe_generate_params params = greedy(MAX_TOKENS);
    struct text text = {{0}, 0, 0, 3};
    edgemoe_error error;
    edgemoe_stop_reason reason = EDGEMOE_STOP_LENGTH;
    CHECK_OK(edgemoe_generate(model, PROMPT, strlen(PROMPT), &params, collect, &text, &reason, &error));
    CHECK(reason == EDGEMOE_STOP_CANCELLED);
    CHECK(text.n_pieces == 3);
    CHECK(memcmp(text.data, whole.data, text.size) == 0);
    const struct text again = generate(model, PROMPT);
    CHECK(same_text(&again, &whole));
}

struct cancelling {
    edgemoe_model * model;
    int n_pieces;
};

static bool cancel_at_second(const char * text, size_t size, void * user_data) {
    struct cancelling * state = user_data;
    (void)text;
    (void)size;
    if (++state->n_pieces == 2) {
        edgemoe_cancel(state->model);
    }
    return true;
}

static void cancel_from_a_callback_stops_generation(edgemoe_model * model) {
    const edgemoe_generate_params params = greedy(-1);
    struct cancelling state = {model, 0};
    edgemoe_error error;
    edgemoe_stop_reason reason = EDGEMOE_STOP_LENGTH;
    CHECK_OK(edgemoe_generate(model, PROMPT, strlen(PROMPT), &params, cancel_at_second, &state, &reason, &error));
    CHECK(reason == EDGEMOE_STOP_CANCELLED);
    CHECK(state.n_pieces >= 2 && state.n_pieces <= 3); /* what was held back may follow */
    (void)generate(model, PROMPT);
}

static bool stop_loading(float fraction, void * user_data) {
    ++*(int *)user_data;
    return fraction < 0.2f;
}

static void loading_can_be_stopped(const char * path) {
    int n_calls = 0;
    edgemoe_load_params params;
    edgemoe_load_params_init(&params);
    params.progress = stop_loading;
    params.progress_user_data = &n_calls;
    edgemoe_model * model = NULL;
    CHECK(edgemoe_load(path, &params, &model, NULL) == EDGEMOE_CANCELLED);
    CHECK(model == NULL && n_calls > 0);
}

static void tokens_become_text_again(edgemoe_model * model) {
    edgemoe_error error;
    edgemoe_tokens tokens = {NULL, 0};
    edgemoe_text text = {NULL, 0};
    CHECK_OK(edgemoe_tokenize(model, PROMPT, strlen(PROMPT), false, false, &tokens, &error));
    CHECK(tokens.size > 0);
    CHECK_OK(edgemoe_detokenize(model, tokens.data, tokens.size, false, &text, &error));
    CHECK(text.size == strlen(PROMPT) && strcmp(text.data, PROMPT) == 0);
    edgemoe_text_free(&text);
    edgemoe_tokens_free(&tokens);
    CHECK(tokens.data == NULL && tokens.size == 0 && text.data == NULL);
    edgemoe_tokens_free(&tokens); /* freeing twice is no harm */
}

static void logits_do_not_depend_on_the_batch(edgemoe_model * model) {
    edgemoe_error error;
    edgemoe_model_info info;
    edgemoe_model_info_init(&info);
    CHECK_OK(edgemoe_info(model, &info, &error));
    const int32_t tokens[] = {5, 17, 300, 42};
    const size_t n_tokens = sizeof(tokens) / sizeof(tokens[0]);
    const size_t n_vocab = (size_t)info.n_vocab;
    float * first = malloc(n_tokens * n_vocab * sizeof(float));
    float * second = malloc(n_tokens * n_vocab * sizeof(float));
    CHECK(first != NULL && second != NULL);
    CHECK_OK(edgemoe_reset(model, -1, &error));
    CHECK_OK(edgemoe_decode(model, tokens, NULL, n_tokens, first, &error));
    CHECK_OK(edgemoe_reset(model, 0, &error));
    CHECK_OK(edgemoe_decode(model, tokens, NULL, n_tokens, second, &error));
    CHECK(memcmp(first, second, n_tokens * n_vocab * sizeof(float)) == 0);

    /* A call that is refused changes nothing: the sequence goes on where it was. */
    const int32_t bad[] = {3, info.n_vocab};
    CHECK(edgemoe_decode(model, bad, NULL, 2, NULL, &error) == EDGEMOE_INVALID_ARGUMENT);
    CHECK(edgemoe_reset(model, 7, NULL) == EDGEMOE_INVALID_ARGUMENT);
    CHECK_OK(edgemoe_decode(model, tokens, NULL, 1, first, &error));
    CHECK_OK(edgemoe_reset(model, -1, &error));
    CHECK_OK(edgemoe_decode(model, tokens, NULL, n_tokens, NULL, &error));
    CHECK_OK(edgemoe_decode(model, tokens, NULL, 1, second, &error));
    CHECK(memcmp(first, second, n_vocab * sizeof(float)) == 0);
    free(first);
    free(second);
}

static void errors_have_codes_and_messages(const char * path, edgemoe_model * model) {
    edgemoe_error error;
    edgemoe_model * none = NULL;
    CHECK(edgemoe_load("/no/such/model.gguf", NULL, &none, &error) == EDGEMOE_NOT_FOUND);
    CHECK(error.code == EDGEMOE_NOT_FOUND && strstr(error.message, "/no/such/model.gguf") != NULL);
    CHECK(edgemoe_load("/dev/null", NULL, &none, &error) != EDGEMOE_OK);
    CHECK(edgemoe_load(NULL, NULL, &none, &error) == EDGEMOE_INVALID_ARGUMENT);
    CHECK(edgemoe_load(path, NULL, NULL, &error) == EDGEMOE_INVALID_ARGUMENT);

    edgemoe_load_params params;
    edgemoe_load_params_init(&params);
    params.memory_bytes = 1;
    CHECK(edgemoe_load(path, &params, &none, &error) == EDGEMOE_OUT_OF_BUDGET);
    CHECK(strstr(error.message, "the least is") != NULL);
    edgemoe_load_params_init(&params);
    params.expert_cache_bytes = 1;
    CHECK(edgemoe_load(path, &params, &none, &error) == EDGEMOE_OUT_OF_BUDGET);
    edgemoe_load_params_init(&params);
    params.eviction = "magic";
    CHECK(edgemoe_load(path, &params, &none, &error) == EDGEMOE_INVALID_ARGUMENT);
    edgemoe_load_params_init(&params);
    params.io = "magic";
    CHECK(edgemoe_load(path, &params, &none, &error) == EDGEMOE_INVALID_ARGUMENT);
    edgemoe_load_params_init(&params);
    params.cache_type_k = "magic";
    CHECK(edgemoe_load(path, &params, &none, &error) == EDGEMOE_INVALID_ARGUMENT);

    const edgemoe_generate_params generate_params = greedy(1);
    CHECK(edgemoe_generate(model, "\xFF", 1, &generate_params, NULL, NULL, NULL, &error) == EDGEMOE_INVALID_ARGUMENT);
    edgemoe_tokens tokens = {NULL, 0};
    CHECK(edgemoe_tokenize(model, "\xC3", 1, true, false, &tokens, &error) == EDGEMOE_INVALID_ARGUMENT);
    CHECK(tokens.data == NULL && none == NULL);
}

static void errors_may_be_ignored(const char * path, edgemoe_model * model) {
    edgemoe_model * none = NULL;
    CHECK(edgemoe_load("/no/such/model.gguf", NULL, &none, NULL) == EDGEMOE_NOT_FOUND);
    CHECK(edgemoe_load(path, NULL, NULL, NULL) == EDGEMOE_INVALID_ARGUMENT);
    const edgemoe_generate_params params = greedy(1);
    CHECK(edgemoe_generate(model, "\xFF", 1, &params, NULL, NULL, NULL, NULL) == EDGEMOE_INVALID_ARGUMENT);
    CHECK(edgemoe_generate(model, "a", 1, &params, NULL, NULL, NULL, NULL) == EDGEMOE_OK);
    edgemoe_free(NULL);
    edgemoe_description_free(NULL);
}

static void structs_that_were_not_initialized_are_refused(const char * path, edgemoe_model * model) {
    edgemoe_error error;
    edgemoe_model * none = NULL;
    edgemoe_load_params load_params;
    edgemoe_load_params_init(&load_params);
    const size_t sizes[] = {0, sizeof(size_t) - 1, sizeof(load_params) + 1, (size_t)-1};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        load_params.struct_size = sizes[i];
        CHECK(edgemoe_load(path, &load_params, &none, &error) == EDGEMOE_INVALID_ARGUMENT);
        CHECK(strstr(error.message, "struct_size") != NULL);
    }
    edgemoe_generate_params generate_params = greedy(1);
    generate_params.struct_size = 0;
    CHECK(edgemoe_generate(model, "a", 1, &generate_params, NULL, NULL, NULL, &error) == EDGEMOE_INVALID_ARGUMENT);
    edgemoe_model_info info;
    edgemoe_model_info_init(&info);
    info.struct_size = 0;
    CHECK(edgemoe_info(model, &info, &error) == EDGEMOE_INVALID_ARGUMENT);
    edgemoe_description * description = NULL;
    CHECK(edgemoe_inspect(path, NULL, &info, &description, &error) == EDGEMOE_INVALID_ARGUMENT);
    CHECK(description == NULL);
    edgemoe_stats stats;
    edgemoe_stats_init(&stats);
    stats.struct_size = 0;
    CHECK(edgemoe_stats_get(model, &stats, &error) == EDGEMOE_INVALID_ARGUMENT);
}

/* ---- packed files ---- */

static bool stop_job(const char * step, double fraction, double seconds_left, void * user_data) {
    CHECK(strlen(step) > 0 && fraction >= 0 && fraction <= 1);
    (void)seconds_left;
    (*(int *)user_data)++;
    return false;
}

static void a_packed_file_describes_itself_and_generates_the_same(const char * path, edgemoe_model * model) {
    char folder[] = "/tmp/edgemoe-c-XXXXXX";
    char packed[64];
    char stock[64];
    edgemoe_error error;
    CHECK(mkdtemp(folder) != NULL);
    snprintf(packed, sizeof packed, "%s/packed.gguf", folder);
    snprintf(stock, sizeof stock, "%s/stock.gguf", folder);
    CHECK_OK(edgemoe_repack(path, packed, NULL, NULL, &error));

    edgemoe_model_info info;
    edgemoe_description * description = NULL;
    const edgemoe_type_use * uses = NULL;
    const edgemoe_packed_entry * entries = NULL;
    size_t n_uses = 0;
    size_t n_entries = 0;
    uint64_t bytes = 0;
    edgemoe_model_info_init(&info);
    CHECK_OK(edgemoe_inspect(packed, NULL, &info, &description, &error));
    CHECK_OK(edgemoe_description_types(description, &uses, &n_uses, &error));
    CHECK_OK(edgemoe_description_packed(description, &entries, &n_entries, &error));
    for (size_t i = 0; i < n_uses; i++) {
        CHECK(uses[i].n_experts > 0 && strlen(uses[i].projection) > 0 && strlen(uses[i].type) > 0);
        bytes += uses[i].bytes;
    }
    CHECK(bytes == info.expert_bytes);
    CHECK(n_entries > 0 && strcmp(entries[0].name, "version") == 0 && strcmp(entries[0].value, "1") == 0);
    edgemoe_description_free(description);

    edgemoe_model * same = load(packed, 2);
    const struct text expected = generate(model, PROMPT);
    const struct text found = generate(same, PROMPT);
    CHECK(same_text(&found, &expected));
    edgemoe_free(same);

    int n_calls = 0;
    edgemoe_unpack_params params;
    edgemoe_unpack_params_init(&params);
    params.progress = stop_job;
    params.progress_user_data = &n_calls;
    CHECK(edgemoe_unpack(packed, stock, &params, &error) == EDGEMOE_CANCELLED);
    CHECK(n_calls == 1);
    CHECK(remove(stock) != 0);
    CHECK_OK(edgemoe_unpack(packed, stock, NULL, &error));
    CHECK(edgemoe_unpack(stock, packed, NULL, &error) == EDGEMOE_INVALID_ARGUMENT);
    CHECK(edgemoe_repack(NULL, packed, NULL, NULL, &error) == EDGEMOE_INVALID_ARGUMENT);
    CHECK(remove(stock) == 0 && remove(packed) == 0 && remove(folder) == 0);
}

/* ---- threads ---- */

enum { N_MODELS = 2, N_THREADS = 4 };
static const char * const PROMPTS[N_THREADS] = {"def fibonacci(n):\n", "class Stack:\n", "import os\n", "for i in"};

struct job {
    edgemoe_model * model;
    const char * prompt;
    struct text text;
};

static void * run_job(void * argument) {
    struct job * job = argument;
    job->text = generate(job->model, job->prompt);
    return NULL;
}

static void two_models_and_four_threads_give_what_one_gives(const char * path, edgemoe_model * model) {
    static struct job jobs[N_THREADS];
    static struct text expected[N_THREADS];
    edgemoe_model * models[N_MODELS] = {model, load(path, 1)};
    for (int i = 0; i < N_THREADS; i++) {
        expected[i] = generate(model, PROMPTS[i]);
        jobs[i].model = models[i % N_MODELS];
        jobs[i].prompt = PROMPTS[i];
    }
    CHECK(!same_text(&expected[0], &expected[1]));
    pthread_t threads[N_THREADS];
    for (int i = 0; i < N_THREADS; i++) {
        CHECK(pthread_create(&threads[i], NULL, run_job, &jobs[i]) == 0);
    }
    for (int i = 0; i < N_THREADS; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
        CHECK(same_text(&jobs[i].text, &expected[i]));
    }
    edgemoe_free(models[1]);
}

/* A recorded run, replayed with the model's sizes, has the hits that the model counted. */
static void a_recording_can_be_replayed(const char * path) {
    const char * trace = "edgemoe_api_test_trace.csv";
    edgemoe_error error;
    edgemoe_model * model = load(path, 1);
    CHECK_OK(edgemoe_stop_recording(model, &error)); /* none runs */
    CHECK_OK(edgemoe_start_recording(model, trace, &error));
    (void)generate(model, "x");
    CHECK_OK(edgemoe_stop_recording(model, &error));
    edgemoe_stats stats;
    edgemoe_stats_init(&stats);
    CHECK_OK(edgemoe_stats_get(model, &stats, &error));
    edgemoe_model_info info;
    edgemoe_model_info_init(&info);
    CHECK_OK(edgemoe_info(model, &info, &error));
    edgemoe_free(model);

    const char * const policies[] = {"default"};
    edgemoe_replay_params params;
    edgemoe_replay_params_init(&params);
    params.model = path;
    params.policies = policies;
    params.n_policies = 1;
    params.cache_bytes = &info.expert_cache_bytes;
    params.n_cache_bytes = 1;
    edgemoe_replay * replay = NULL;
    CHECK_OK(edgemoe_replay_open(trace, &params, &replay, &error));
    edgemoe_replay_info described;
    edgemoe_replay_info_init(&described);
    CHECK_OK(edgemoe_replay_describe(replay, &described, &error));
    CHECK(described.n_rows == 2);
    CHECK(described.tokens == MAX_TOKENS - 1);
    edgemoe_replay_row row;
    edgemoe_replay_row_init(&row);
    CHECK_OK(edgemoe_replay_get(replay, 0, &row, &error));
    CHECK(strcmp(row.policy, "default") == 0);
    CHECK(row.requests == stats.expert_requests);
    CHECK(row.hits == stats.expert_hits);
    CHECK_OK(edgemoe_replay_get(replay, 1, &row, &error));
    CHECK(strcmp(row.policy, "belady") == 0);
    CHECK(edgemoe_replay_get(replay, 2, &row, &error) == EDGEMOE_INVALID_ARGUMENT);
    edgemoe_replay_free(replay);
    edgemoe_replay_free(NULL);
    CHECK(remove(trace) == 0);
    CHECK(edgemoe_replay_open(trace, NULL, &replay, &error) == EDGEMOE_NOT_FOUND);
}

static void a_plan_says_what_fits(const char * path) {
    edgemoe_error error;
    edgemoe_load_params params;
    edgemoe_load_params_init(&params);
    edgemoe_plan_params plan_params;
    edgemoe_plan_params_init(&plan_params);
    plan_params.probe_seconds = 0;
    edgemoe_forecast forecast;
    edgemoe_forecast_init(&forecast);
    params.memory_bytes = 1 << 20;
    CHECK_OK(edgemoe_plan(path, &params, &plan_params, &forecast, &error));
    CHECK(strcmp(forecast.mode, "none") == 0);
    params.memory_bytes = forecast.least_memory_bytes + (8 << 20);
    CHECK_OK(edgemoe_plan(path, &params, &plan_params, &forecast, &error));
    CHECK(strcmp(forecast.mode, "none") != 0);
    CHECK(forecast.memory_bytes == params.memory_bytes);
    CHECK(forecast.tokens_per_second_fast == 0);
    forecast.struct_size = 0;
    CHECK(edgemoe_plan(path, &params, &plan_params, &forecast, &error) == EDGEMOE_INVALID_ARGUMENT);
}

static void what_was_read_ahead_is_counted(const char * path) {
    edgemoe_error error;
    edgemoe_load_params params;
    edgemoe_load_params_init(&params);
    CHECK(params.prefetch == EDGEMOE_PREFETCH_AUTO);
    CHECK(params.prewarm == EDGEMOE_AUTO);
    params.expert_cache_bytes = 4 << 20;
    const edgemoe_prefetch settings[] = {EDGEMOE_PREFETCH_AUTO, EDGEMOE_PREFETCH_OFF, EDGEMOE_PREFETCH_ALWAYS};
    struct text texts[3];
    for (int i = 0; i < 3; i++) {
        params.prefetch = settings[i];
        edgemoe_model * model = NULL;
        CHECK_OK(edgemoe_load(path, &params, &model, &error));
        texts[i] = generate(model, "def f(x):");
        edgemoe_stats stats;
        edgemoe_stats_init(&stats);
        CHECK_OK(edgemoe_stats_get(model, &stats, &error));
        CHECK(stats.read_ahead_useful_bytes + stats.read_ahead_wasted_bytes <= stats.read_ahead_bytes);
        edgemoe_recall recall;
        CHECK_OK(edgemoe_forecast_recall(model, &recall, &error));
        for (size_t row = 0; row < recall.size; row++) {
            CHECK(recall.data[row].n_named <= recall.data[row].n_chosen && recall.data[row].distance >= 1);
        }
        if (settings[i] == EDGEMOE_PREFETCH_OFF) {
            CHECK(stats.forecasts == 0 && stats.read_ahead_bytes == 0 && recall.size == 0);
        }
        edgemoe_recall_free(&recall);
        CHECK(recall.data == NULL && recall.size == 0);
        edgemoe_recall_free(NULL);
        edgemoe_free(model);
    }
    CHECK(same_text(&texts[0], &texts[1]) && same_text(&texts[0], &texts[2]));
}

int main(int argc, char ** argv) {
    if (argc != 2) {
        fprintf(stderr, "usage: %s MODEL.gguf\n", argv[0]);
        return 2;
    }
    const char * path = argv[1];
    edgemoe_model * model = load(path, 2);
    models_describe_themselves(model);
    greedy_generation_repeats_itself(model);
    callbacks_stop_generation(model);
    cancel_from_a_callback_stops_generation(model);
    tokens_become_text_again(model);
    logits_do_not_depend_on_the_batch(model);
    errors_have_codes_and_messages(path, model);
    errors_may_be_ignored(path, model);
    structs_that_were_not_initialized_are_refused(path, model);
    loading_can_be_stopped(path);
    a_packed_file_describes_itself_and_generates_the_same(path, model);
    two_models_and_four_threads_give_what_one_gives(path, model);
    edgemoe_free(model);
    a_recording_can_be_replayed(path);
    a_plan_says_what_fits(path);
    what_was_read_ahead_is_counted(path);
    return 0;
}
