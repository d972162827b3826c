/* edgemoe-run: text from a model, by the C API alone. For devices that have no Python; greedy unless told otherwise, so
 * that machines can be compared: by their text, or number by number (--logits).
 *
 * The text, or nothing with --logits, goes to standard output, all else to standard error. Exit status: 0, 1 for an
 * error, 2 for wrong usage, 130 for Ctrl-C. */
#include <edgemoe/edgemoe.h>

#include <ctype.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char USAGE[] =
    "usage: edgemoe-run -m MODEL [options] [PROMPT]\n"
    "  -m MODEL             GGUF file (the first one, if it is split)\n"
    "  -f FILE              the prompt from a file (\"-\": standard input)\n"
    "  -n N                 most tokens to generate (64)\n"
    "  -c, --ctx-size N     context in tokens\n"
    "  -t, --threads N      compute threads\n"
    "  --memory SIZE        ceiling for the process: 200MiB, 1.5GB, a number of bytes\n"
    "  --expert-cache SIZE  the expert cache alone, instead of --memory\n"
    "  --io ENGINE          auto, uring, threads or mmap\n"
    "  --streaming off      load everything, in llama.cpp's own way\n"
    "  --flash-attn on|off  flash attention (default: where it can be had)\n"
    "  --cache-type-k TYPE  type of the KV cache's keys: f16 (the default), f32, bf16, q8_0, ...\n"
    "  --cache-type-v TYPE  type of the KV cache's values\n"
    "  --temp T             temperature; 0 (the default): always the likeliest token, after the penalty\n"
    "  --repeat-penalty X   for tokens that are there already; 1: none (default: what the model's file says)\n"
    "  --seed N             the same seed gives the same text\n"
    "  --ignore-eos         go on after the end of the text\n"
    "  --logits FILE        generate nothing; write the logits of the prompt's tokens: float32 [n_tokens, n_vocab] in\n"
    "                       the machine's byte order\n"
    "  --batch-size N       most tokens computed together for --logits (64)\n"
    "  --tokens             the prompt is numbers of tokens, for models without a tokenizer; with --logits\n"
    "  -q                   nothing on standard error but errors\n";

struct options {
    const char * model;
    const char * file;
    const char * prompt;
    const char * logits;
    size_t batch_size;
    bool prompt_is_tokens;
    bool quiet;
    edgemoe_load_params load;
    edgemoe_generate_params generate;
};

struct text {
    char * data;
    size_t size;
};

static void wrong_usage(const char * what, const char * value) {
    fprintf(stderr, "edgemoe-run: %s%s%s\n%s", what, value != NULL ? ": " : "", value != NULL ? value : "", USAGE);
    exit(2);
}

static int failed(const edgemoe_error * error) {
    fprintf(stderr, "edgemoe-run: %s\n", error->message);
    return error->code == EDGEMOE_CANCELLED ? 130 : 1;
}

/* ---- what the command line says ---- */

static long whole_number(const char * option, const char * value, long least, long most) {
    char * end = NULL;
    errno = 0;
    const long number = strtol(value, &end, 10);
    if (errno != 0 || end == value || *end != '\0' || number < least || number > most) {
        wrong_usage(option, value);
    }
    return number;
}

static double fraction(const char * option, const char * value) {
    char * end = NULL;
    const double number = strtod(value, &end);
    if (end == value || *end != '\0' || !(number >= 0)) {
        wrong_usage(option, value);
    }
    return number;
}

/* "200MiB", "1.5GB" (powers of 1000), "512M" (of 1024), "4096". */
static uint64_t size_in_bytes(const char * option, const char * value) {
    static const char LETTERS[] = "kmgt";
    char * unit = NULL;
    const double number = strtod(value, &unit);
    double factor = 1;
    const char * letter = unit == value || *unit == '\0' ? NULL : strchr(LETTERS, tolower((unsigned char)*unit));
    if (letter != NULL && *letter != '\0') {
        const bool decimal = tolower((unsigned char)unit[1]) == 'b';
        for (long i = 0; i <= letter - LETTERS; i++) {
            factor *= decimal ? 1000 : 1024;
        }
        unit++;
        if (tolower((unsigned char)*unit) == 'i' && tolower((unsigned char)unit[1]) == 'b') {
            unit++;
        }
    }
    if (tolower((unsigned char)*unit) == 'b') {
        unit++;
    }
    if (unit == value || *unit != '\0' || !(number > 0) || number * factor >= 18446744073709551616.0) {
        wrong_usage(option, value);
    }
    return (uint64_t)(number * factor);
}

static bool is(const char * argument, const char * a, const char * b) {
    return strcmp(argument, a) == 0 || (b != NULL && strcmp(argument, b) == 0);
}

static struct options parse(int argc, char ** argv) {
    struct options options = {0};
    edgemoe_load_params_init(&options.load);
    edgemoe_generate_params_init(&options.generate);
    options.generate.max_tokens = 64;
    options.generate.temperature = 0;
    options.batch_size = 64;
    bool only_prompt = false;
    for (int i = 1; i < argc; i++) {
        const char * option = argv[i];
        if (only_prompt || option[0] != '-') {
            if (options.prompt != NULL) {
                wrong_usage("more than one prompt", option);
            }
            options.prompt = option;
            continue;
        }
        if (is(option, "--", NULL)) {
            only_prompt = true;
            continue;
        }
        if (is(option, "-h", "--help")) {
            fputs(USAGE, stdout);
            exit(0);
        }
        if (is(option, "-q", "--quiet")) {
            options.quiet = true;
            continue;
        }
        if (is(option, "--tokens", NULL)) {
            options.prompt_is_tokens = true;
            continue;
        }
        if (is(option, "--ignore-eos", NULL)) {
            options.generate.ignore_eos = true;
            continue;
        }
        const char * value = i + 1 < argc ? argv[++i] : NULL;
        if (value == NULL) {
            wrong_usage("unknown option, or one whose value is missing", option);
        } else if (is(option, "-m", "--model")) {
            options.model = value;
        } else if (is(option, "-f", "--file")) {
            options.file = value;
        } else if (is(option, "-n", "--max-tokens")) {
            options.generate.max_tokens = (int32_t)whole_number(option, value, 0, INT32_MAX);
        } else if (is(option, "-c", "--ctx-size")) {
            options.load.n_ctx = (uint32_t)whole_number(option, value, 1, INT32_MAX);
        } else if (is(option, "-t", "--threads")) {
            options.load.n_threads = (int32_t)whole_number(option, value, 1, 512);
        } else if (is(option, "--memory", NULL)) {
            options.load.memory_bytes = size_in_bytes(option, value);
        } else if (is(option, "--expert-cache", NULL)) {
            options.load.expert_cache_bytes = size_in_bytes(option, value);
        } else if (is(option, "--io", NULL)) {
            options.load.io = value;
        } else if (is(option, "--streaming", NULL) && (is(value, "off", "auto"))) {
            options.load.streaming = is(value, "off", NULL) ? EDGEMOE_STREAMING_OFF : EDGEMOE_STREAMING_AUTO;
        } else if (is(option, "--flash-attn", NULL) && (is(value, "on", "off"))) {
            options.load.flash_attention = is(value, "on", NULL) ? EDGEMOE_ON : EDGEMOE_OFF;
        } else if (is(option, "--cache-type-k", NULL)) {
            options.load.cache_type_k = value;
        } else if (is(option, "--cache-type-v", NULL)) {
            options.load.cache_type_v = value;
        } else if (is(option, "--temp", NULL)) {
            options.generate.temperature = (float)fraction(option, value);
        } else if (is(option, "--repeat-penalty", NULL)) {
            options.generate.repeat_penalty = (float)fraction(option, value);
        } else if (is(option, "--seed", NULL)) {
            options.generate.seed = (uint32_t)whole_number(option, value, 0, INT32_MAX);
        } else if (is(option, "--logits", NULL)) {
            options.logits = value;
        } else if (is(option, "--batch-size", NULL)) {
            options.batch_size = (size_t)whole_number(option, value, 1, INT32_MAX);
        } else {
            wrong_usage("unknown option or value", option);
        }
    }
    if (options.model == NULL) {
        wrong_usage("no model: -m MODEL", NULL);
    }
    if ((options.prompt == NULL) == (options.file == NULL)) {
        wrong_usage("one prompt is needed, on the command line or in a file (-f)", NULL);
    }
    if (options.prompt_is_tokens && options.logits == NULL) {
        wrong_usage("--tokens needs --logits", NULL);
    }
    return options;
}

/* All that `file` has; exits if it cannot be read. */
static struct text read_text(const char * file) {
    FILE * stream = strcmp(file, "-") == 0 ? stdin : fopen(file, "rb");
    struct text text = {NULL, 0};
    size_t capacity = 0;
    while (stream != NULL) {
        if (text.size == capacity) {
            capacity = capacity * 2 + 4096;
            char * larger = realloc(text.data, capacity);
            if (larger == NULL) {
                fprintf(stderr, "edgemoe-run: %s: out of memory\n", file);
                exit(1);
            }
            text.data = larger;
        }
        const size_t n = fread(text.data + text.size, 1, capacity - text.size, stream);
        if (n == 0) {
            break;
        }
        text.size += n;
    }
    if (stream == NULL || ferror(stream)) {
        fprintf(stderr, "edgemoe-run: %s: %s\n", file, strerror(errno));
        exit(1);
    }
    if (stream != stdin) {
        fclose(stream);
    }
    return text;
}

/* ---- what is done ---- */

static edgemoe_model * running; /* for Ctrl-C */

static void stop(int signal_number) {
    (void)signal_number;
    edgemoe_cancel(running);
}

static bool print(const char * text, size_t size, void * user_data) {
    (void)user_data;
    return fwrite(text, 1, size, stdout) == size && fflush(stdout) == 0;
}

static int generate(edgemoe_model * model, const struct options * options, const struct text * prompt) {
    edgemoe_error error;
    edgemoe_stop_reason reason = EDGEMOE_STOP_LENGTH;
    if (edgemoe_generate(model, prompt->data, prompt->size, &options->generate, print, NULL, &reason, &error) !=
        EDGEMOE_OK) {
        return failed(&error);
    }
    putchar('\n');
    edgemoe_stats stats;
    edgemoe_stats_init(&stats);
    edgemoe_stats_get(model, &stats, NULL);
    if (!options->quiet) {
        fprintf(stderr,
                "prompt: %llu tokens, %.2f tok/s; generated: %llu tokens, %.2f tok/s; experts in the cache: %.1f%%; "
                "read: %.1f MiB; peak memory: %.1f MiB\n",
                (unsigned long long)stats.prompt_tokens, stats.prompt_tokens_per_second,
                (unsigned long long)stats.generated_tokens, stats.generation_tokens_per_second, 100 * stats.hit_rate,
                (double)stats.read_bytes / 1048576, (double)stats.peak_memory_bytes / 1048576);
    }
    return reason == EDGEMOE_STOP_CANCELLED ? 130 : 0;
}

/* Batch by batch, so that a long text needs no memory for all its logits at once. */
static edgemoe_code write_all_logits(edgemoe_model * model, const edgemoe_model_info * info,
                                     const edgemoe_tokens * tokens, FILE * file, const char * path, size_t n_batch,
                                     edgemoe_error * error) {
    const size_t n_vocab = (size_t)info->n_vocab;
    float * logits = malloc(n_batch * n_vocab * sizeof(float));
    edgemoe_code code = logits != NULL ? EDGEMOE_OK : EDGEMOE_OUT_OF_BUDGET;
    if (logits == NULL) {
        snprintf(error->message, sizeof(error->message), "out of memory");
        error->code = code;
    }
    for (size_t i = 0; code == EDGEMOE_OK && i < tokens->size; i += n_batch) {
        const size_t n = tokens->size - i < n_batch ? tokens->size - i : n_batch;
        code = edgemoe_decode(model, tokens->data + i, NULL, n, logits, error);
        if (code == EDGEMOE_OK && fwrite(logits, sizeof(float), n * n_vocab, file) != n * n_vocab) {
            snprintf(error->message, sizeof(error->message), "%s: %s", path, strerror(errno));
            error->code = code = EDGEMOE_IO;
        }
    }
    free(logits);
    return code;
}

/* The numbers in `text`, as many as there are; exits if there is anything else in it. The caller frees data. */
static edgemoe_tokens token_numbers(const struct text * text) {
    /* A number takes two characters at least. */
    edgemoe_tokens tokens = {malloc((text->size / 2 + 1) * sizeof(int32_t)), 0};
    char * copy = malloc(text->size + 1);
    if (tokens.data == NULL || copy == NULL) {
        fprintf(stderr, "edgemoe-run: out of memory\n");
        exit(1);
    }
    memcpy(copy, text->data, text->size);
    copy[text->size] = '\0';
    for (char * word = strtok(copy, " \n"); word != NULL; word = strtok(NULL, " \n")) {
        tokens.data[tokens.size++] = (int32_t)whole_number("token", word, 0, INT32_MAX);
    }
    free(copy);
    return tokens;
}

static int write_logits(edgemoe_model * model, const struct options * options, const edgemoe_model_info * info,
                        const struct text * prompt) {
    edgemoe_error error;
    edgemoe_tokens tokens = {NULL, 0};
    if (options->prompt_is_tokens) {
        tokens = token_numbers(prompt);
    } else if (edgemoe_tokenize(model, prompt->data, prompt->size, true, false, &tokens, &error) != EDGEMOE_OK) {
        return failed(&error);
    }
    FILE * file = fopen(options->logits, "wb");
    if (file == NULL) {
        fprintf(stderr, "edgemoe-run: %s: %s\n", options->logits, strerror(errno));
        exit(1);
    }
    const size_t n_batch = (size_t)info->n_batch < options->batch_size ? (size_t)info->n_batch : options->batch_size;
    edgemoe_code code = write_all_logits(model, info, &tokens, file, options->logits, n_batch, &error);
    if (fclose(file) != 0 && code == EDGEMOE_OK) {
        snprintf(error.message, sizeof(error.message), "%s: %s", options->logits, strerror(errno));
        error.code = code = EDGEMOE_IO;
    }
    if (code == EDGEMOE_OK && !options->quiet) {
        fprintf(stderr, "%s: float32 [%llu, %d]\n", options->logits, (unsigned long long)tokens.size, info->n_vocab);
    }
    if (options->prompt_is_tokens) {
        free(tokens.data);
    } else {
        edgemoe_tokens_free(&tokens);
    }
    return code == EDGEMOE_OK ? 0 : failed(&error);
}

int main(int argc, char ** argv) {
    const struct options options = parse(argc, argv);
    struct text prompt = {(char *)options.prompt, options.prompt != NULL ? strlen(options.prompt) : 0};
    if (options.file != NULL) {
        prompt = read_text(options.file);
    }
    edgemoe_error error;
    edgemoe_model * model = NULL;
    int status = 1;
    if (edgemoe_load(options.model, &options.load, &model, &error) != EDGEMOE_OK) {
        status = failed(&error);
    } else {
        running = model;
        signal(SIGINT, stop);
        edgemoe_model_info info;
        edgemoe_model_info_init(&info);
        edgemoe_info(model, &info, NULL);
        if (!options.quiet) {
            fprintf(stderr,
                    "%s: expert cache %.1f MiB of %.1f MiB experts, hot %.1f MiB, io %s (%s), %d threads, kernels %s\n",
                    info.mode, (double)info.expert_cache_bytes / 1048576, (double)info.expert_bytes / 1048576,
                    (double)info.hot_bytes / 1048576, info.io, info.io_reason, info.n_threads, info.cpu);
        }
        status =
            options.logits != NULL ? write_logits(model, &options, &info, &prompt) : generate(model, &options, &prompt);
        signal(SIGINT, SIG_DFL);
        edgemoe_free(model);
    }
    if (options.file != NULL) {
        free(prompt.data);
    }
    return status;
}
