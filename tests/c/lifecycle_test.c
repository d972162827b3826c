/* Load, generate, cancel, free, over and over: nothing is left behind. argv[1]: a small model with routed experts and a
 * tokenizer; argv[2]: how many times. */
#include "edgemoe/edgemoe.h"

#include "check.h"

#include <dirent.h>
#include <pthread.h>
#include <string.h>

#if defined(__GLIBC__)
#include <malloc.h>
#endif

static const char PROMPT[] = "def fibonacci(n):\n";

enum { WARM_UP = 5 };

/* ---- what a process holds ---- */

struct held {
    size_t heap_bytes; /* 0: the C library does not tell */
    size_t resident_bytes;
    size_t address_bytes;
    int n_files;
    int n_threads;
};

static int entries_of(const char * folder) {
    DIR * entries = opendir(folder);
    int n = 0;
    CHECK(entries != NULL);
    while (readdir(entries) != NULL) {
        n++;
    }
    closedir(entries);
    return n;
}

static struct held held_now(void) {
    struct held held = {0, 0, 0, 0, 0};
    unsigned long size = 0;
    unsigned long resident = 0;
#if defined(__GLIBC__)
    const struct mallinfo2 heap = mallinfo2();
    held.heap_bytes = heap.uordblks + heap.hblkhd;
#endif
    FILE * statm = fopen("/proc/self/statm", "r");
    CHECK(statm != NULL && fscanf(statm, "%lu %lu", &size, &resident) == 2);
    fclose(statm);
    held.address_bytes = size * 4096;
    held.resident_bytes = resident * 4096;
    held.n_files = entries_of("/proc/self/fd");
    held.n_threads = entries_of("/proc/self/task");
    return held;
}

static void print_held(const char * when, const struct held * held) {
    printf("%s: heap %zu KiB, resident %zu KiB, addresses %zu KiB, %d files, %d threads\n", when,
           held->heap_bytes / 1024, held->resident_bytes / 1024, held->address_bytes / 1024, held->n_files,
           held->n_threads);
}

/* ---- what is done each time ---- */

struct run {
    edgemoe_model * model;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    bool generating; /* guarded by mutex */
};

static bool tell_canceller(const char * text, size_t size, void * user_data) {
    struct run * run = user_data;
    (void)text;
    (void)size;
    pthread_mutex_lock(&run->mutex);
    run->generating = true;
    pthread_cond_signal(&run->changed);
    pthread_mutex_unlock(&run->mutex);
    return true;
}

static void * cancel_when_generating(void * user_data) {
    struct run * run = user_data;
    pthread_mutex_lock(&run->mutex);
    while (!run->generating) {
        pthread_cond_wait(&run->changed, &run->mutex);
    }
    pthread_mutex_unlock(&run->mutex);
    edgemoe_cancel(run->model);
    return NULL;
}

static void generate_until_cancelled(edgemoe_model * model, const edgemoe_generate_params * params) {
    struct run run = {model, PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false};
    edgemoe_error error;
    edgemoe_stop_reason reason = EDGEMOE_STOP_LENGTH;
    pthread_t canceller;
    CHECK(pthread_create(&canceller, NULL, cancel_when_generating, &run) == 0);
    CHECK_OK(edgemoe_generate(model, PROMPT, strlen(PROMPT), params, tell_canceller, &run, &reason, &error));
    CHECK(pthread_join(canceller, NULL) == 0);
    CHECK(reason == EDGEMOE_STOP_CANCELLED || reason == EDGEMOE_STOP_CONTEXT);
}

static bool stop_loading(float fraction, void * user_data) {
    (void)user_data;
    return fraction < 0.5f;
}

static void load_generate_cancel_free(const char * path) {
    edgemoe_error error;
    edgemoe_load_params params;
    edgemoe_load_params_init(&params);
    params.expert_cache_bytes = 5 << 20; /* less than all: experts stream */
    params.n_ctx = 256;
    params.n_threads = 2;
    edgemoe_model * model = NULL;
    CHECK_OK(edgemoe_load(path, &params, &model, &error));

    edgemoe_generate_params greedy;
    edgemoe_generate_params_init(&greedy);
    greedy.temperature = 0;
    greedy.ignore_eos = true;
    greedy.max_tokens = 2;
    CHECK_OK(edgemoe_generate(model, PROMPT, strlen(PROMPT), &greedy, NULL, NULL, NULL, &error));
    greedy.max_tokens = -1;
    generate_until_cancelled(model, &greedy);
    edgemoe_tokens tokens = {NULL, 0};
    CHECK_OK(edgemoe_tokenize(model, PROMPT, strlen(PROMPT), true, false, &tokens, &error));
    edgemoe_tokens_free(&tokens);
    edgemoe_free(model);

    /* What fails, or is stopped, leaves nothing either. */
    params.progress = stop_loading;
    CHECK(edgemoe_load(path, &params, &model, &error) == EDGEMOE_CANCELLED);
    params.progress = NULL;
    params.expert_cache_bytes = 1;
    CHECK(edgemoe_load(path, &params, &model, &error) == EDGEMOE_OUT_OF_BUDGET);
}

int main(int argc, char ** argv) {
    if (argc != 3 || atoi(argv[2]) <= WARM_UP) {
        fprintf(stderr, "usage: %s MODEL.gguf TIMES (above %d)\n", argv[0], WARM_UP);
        return 2;
    }
    const int n_times = atoi(argv[2]);
    struct held before = {0, 0, 0, 0, 0};
    for (int i = 0; i < n_times; i++) {
        if (i == WARM_UP) {
            before = held_now();
        }
        load_generate_cancel_free(argv[1]);
    }
    const struct held after = held_now();
    print_held("before", &before);
    print_held("after", &after);
    /* With glibc.malloc.arena_max=1 and tcache_count=0, as ctest sets them: otherwise what threads of the C library
       keep of freed memory, up to an arena for each, counts too. */
    const size_t times = (size_t)(n_times - WARM_UP);
    CHECK(after.heap_bytes <= before.heap_bytes + 64 * times);
    /* Freed memory that the allocator keeps is bounded; a model's experts or weights, left each time, are not. */
    CHECK(after.resident_bytes <= before.resident_bytes + (16 << 20));
    CHECK(after.address_bytes <= before.address_bytes + (256 << 20));
    CHECK(after.n_files == before.n_files);
    CHECK(after.n_threads == before.n_threads);
    return 0;
}
