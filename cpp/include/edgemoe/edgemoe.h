/* edgemoe: Mixture-of-Experts language models that are bigger than memory. The C API.
 *
 * Handles are opaque. Every option struct begins with `struct_size` and has an _init function that fills in the
 * defaults: call it first, then change what you want. Strings are UTF-8. Functions that can fail return an
 * edgemoe_code and fill in `error` (which may be NULL); on failure, outputs are left alone.
 *
 * Threads: a model may be used from any thread; calls on one model take turns (edgemoe_cancel and edgemoe_stats_get
 * excepted, which never wait). Different models are independent. No callback may call back into the same model, except
 * edgemoe_cancel. The library writes nothing to stdout or stderr.
 *
 * One environment variable is read, once, when the library is loaded: EDGEMOE_CPU forces the kernels of one processor
 * (edgemoe_model_info.cpu) in builds that contain several. If it names none that can run here, every function that
 * returns an edgemoe_code fails and says what it could be.
 */
#ifndef EDGEMOE_H
#define EDGEMOE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define EDGEMOE_API __attribute__((visibility("default")))
#else
#define EDGEMOE_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef enum edgemoe_code {
    EDGEMOE_OK = 0,
    EDGEMOE_INVALID_ARGUMENT = 1, /* the caller's value is wrong */
    EDGEMOE_NOT_FOUND = 2,        /* a file or split does not exist */
    EDGEMOE_FORMAT = 3,           /* a model file is damaged or is not what it claims to be */
    EDGEMOE_IO = 4,               /* the operating system reported an error; the message names file and offset */
    EDGEMOE_OUT_OF_BUDGET = 5,    /* the memory figure cannot be met; the message names the least that can */
    EDGEMOE_CANCELLED = 6,        /* edgemoe_cancel was called, or a callback said stop while loading */
    EDGEMOE_UNSUPPORTED = 7,      /* valid, but this build or machine cannot do it */
    EDGEMOE_INTERNAL = 8
} edgemoe_code;

typedef struct edgemoe_error {
    edgemoe_code code;
    char message[2048]; /* zero-terminated, truncated if it is longer */
} edgemoe_error;

typedef struct edgemoe_model edgemoe_model;

/* Version of the library, "MAJOR.MINOR.PATCH"; static storage. */
EDGEMOE_API const char * edgemoe_version(void);

/* ---- logging ---- */

typedef enum edgemoe_log_level {
    EDGEMOE_LOG_DEBUG = 0,
    EDGEMOE_LOG_INFO = 1,
    EDGEMOE_LOG_WARN = 2,
    EDGEMOE_LOG_ERROR = 3
} edgemoe_log_level;
/* `text` is valid during the call; it ends with a newline where a line is complete. May be called from any thread. */
typedef void (*edgemoe_log_callback)(edgemoe_log_level level, const char * text, void * user_data);
/* Process-wide, because ggml's log is. NULL (the default) silences everything. */
EDGEMOE_API void edgemoe_log_set(edgemoe_log_callback callback, void * user_data);

/* ---- loading ---- */

typedef enum edgemoe_streaming {
    EDGEMOE_STREAMING_AUTO = 0, /* experts pass through the expert cache (a dense model is loaded whole) */
    EDGEMOE_STREAMING_OFF = 1 /* llama.cpp loads everything into memory in its own way; the reference for comparisons */
} edgemoe_streaming;

/* Reading experts that are forecast before they are asked for, and protecting them from eviction (docs/prefetch.md). */
typedef enum edgemoe_prefetch {
    EDGEMOE_PREFETCH_AUTO = 0,  /* as long as it pays; the default */
    EDGEMOE_PREFETCH_OFF = 1,   /* never */
    EDGEMOE_PREFETCH_ALWAYS = 2 /* whether it pays or not: for measurements */
} edgemoe_prefetch;

typedef enum edgemoe_toggle { EDGEMOE_AUTO = -1, EDGEMOE_OFF = 0, EDGEMOE_ON = 1 } edgemoe_toggle;

/* `fraction` runs from 0 to 1. Return false to stop loading (EDGEMOE_CANCELLED). Called from the loading thread. */
typedef bool (*edgemoe_progress_callback)(float fraction, void * user_data);

/* As n_ctx: the largest context, up to what the model was trained with, that leaves the expert cache its useful minimum
 * (edgemoe_model_info.useful_memory_bytes) under the ceiling; never less than 512 tokens. */
#define EDGEMOE_CTX_LARGEST UINT32_MAX

typedef struct edgemoe_load_params {
    size_t struct_size;
    uint64_t memory_bytes; /* ceiling for the whole process; 0: what the machine or cgroup has left, less a reserve */
    uint64_t expert_cache_bytes; /* bytes of the expert cache alone; not 0: memory_bytes is not consulted */
    uint32_t n_ctx;              /* context in tokens, or EDGEMOE_CTX_LARGEST; 0: the smaller of 4096 and what the model
                                    was trained with */
    uint32_t n_batch;     /* most tokens per edgemoe_decode; 0: n_ctx. logits of more tokens are computed in parts */
    uint32_t n_ubatch;    /* tokens computed together; 0: 512 */
    uint32_t n_sequences; /* independent sequences that may be decoded together; 0: 1 */
    int32_t n_threads;    /* compute threads; 0: the cores that this process may use */
    edgemoe_streaming streaming;
    edgemoe_toggle direct_io; /* O_DIRECT; AUTO: where the file system grants it */
    edgemoe_toggle flash_attention;
    const char * cache_type_k; /* KV cache types by their ggml names ("f16", "q8_0"); NULL: f16 */
    const char * cache_type_v;
    const char * io;       /* I/O engine: "auto", "uring", "threads", "mmap"; NULL: auto */
    const char * eviction; /* eviction policy by name; NULL: default */
    edgemoe_progress_callback progress;
    void * progress_user_data;
    bool mlock; /* keep hot weights and expert cache out of swap; fails with EDGEMOE_OUT_OF_BUDGET where the limit
                   (RLIMIT_MEMLOCK) is too low */
    edgemoe_toggle row_tables; /* tables that single rows are taken from (token embeddings) stay on flash; AUTO: unless
                                  they fit in memory together with all experts */
    edgemoe_prefetch prefetch;
    edgemoe_toggle prewarm; /* while nothing else is read, fill free room with the experts that the last runs used most,
                               which are remembered in the user's cache folder, or else the profile's text; AUTO: unless
                               prefetch is off */
    const char * profile;   /* path of a profile of this model (edgemoe_profile_run), whose maps then predict which
                               experts come next; NULL: those of a packed file, or rules of thumb */
} edgemoe_load_params;

EDGEMOE_API void edgemoe_load_params_init(edgemoe_load_params * params);

/* Loads the model at `path` (the first file, if it is split). `params` may be NULL for the defaults and is copied.
 * On success *model belongs to the caller: free it with edgemoe_free. */
EDGEMOE_API edgemoe_code edgemoe_load(const char * path, const edgemoe_load_params * params, edgemoe_model ** model,
                                      edgemoe_error * error);

/* Cancels what runs, waits for it, and frees the model. NULL is ignored. No other call on the model may be running or
 * follow. */
EDGEMOE_API void edgemoe_free(edgemoe_model * model);

/* ---- what a model is ---- */

typedef struct edgemoe_model_info {
    size_t struct_size;
    /* Strings are borrowed from the model and live as long as it does. */
    const char * path;
    const char * architecture;
    const char * name;      /* general.name, or "" */
    const char * mode;      /* "streamed", "resident" (all experts fit, or streaming is off) or "dense" */
    const char * io;        /* I/O engine in use, or "none" */
    const char * io_reason; /* why this engine and these flags */
    bool direct_io;
    bool has_tokenizer;
    bool has_chat_template;
    int32_t n_layers;
    int32_t n_moe_layers;   /* layers that have routed experts; 0: a dense model */
    int32_t n_experts;      /* experts per layer */
    int32_t n_experts_used; /* top-k: experts per token and layer */
    int32_t n_vocab;
    int32_t n_ctx; /* from edgemoe_inspect: what the memory figures are for */
    int32_t n_ctx_train;
    int32_t n_batch;   /* most tokens per edgemoe_decode; 0 from edgemoe_inspect */
    int32_t n_threads; /* 0 from edgemoe_inspect */
    uint64_t file_bytes;
    uint64_t hot_bytes;          /* weights that every token uses, or may use */
    uint64_t expert_bytes;       /* weights of routed experts */
    uint64_t expert_cache_bytes; /* 0 from edgemoe_inspect */
    uint64_t largest_expert_bytes;
    uint64_t kv_cache_bytes; /* for n_ctx */
    uint64_t compute_buffer_bytes;
    uint64_t least_memory_bytes; /* least memory_bytes that loads: hot + KV + compute + I/O + process + one layer's
                                    top-k experts */
    uint64_t
        useful_memory_bytes;  /* from here on a token's experts fit: least + the top-k experts of every other layer */
    uint64_t memory_bytes;    /* the ceiling in force, 0 if only the cache was given */
    const char * types;       /* "24 expert tensors q4_K, 41 hot tensors f32", for people */
    uint64_t row_table_bytes; /* of hot_bytes, tables that stay on flash (edgemoe_inspect: that may stay there) */
    const char * cpu; /* the kernels that run: "haswell", "zen4", "armv8.2"; "native" in a build for one machine */
} edgemoe_model_info;

/* Both fill in all fields that `struct_size` covers (set it, or use the _init function). */
EDGEMOE_API void edgemoe_model_info_init(edgemoe_model_info * info);
/* edgemoe_info never waits. */
EDGEMOE_API edgemoe_code edgemoe_info(const edgemoe_model * model, edgemoe_model_info * info, edgemoe_error * error);

/* Reads headers only and fills in what is known without loading. *description owns the strings that `info` borrows:
 * free it with edgemoe_description_free. `params` may be NULL. */
typedef struct edgemoe_description edgemoe_description;
EDGEMOE_API edgemoe_code edgemoe_inspect(const char * path, const edgemoe_load_params * params,
                                         edgemoe_model_info * info, edgemoe_description ** description,
                                         edgemoe_error * error);
EDGEMOE_API void edgemoe_description_free(edgemoe_description * description);

/* The matrices of one layer's experts and projection that have the same type. */
typedef struct edgemoe_type_use {
    int32_t layer;
    const char * projection; /* "gate", "up", "gate_up" or "down" */
    const char * type;       /* ggml's name: "q4_K" */
    uint32_t n_experts;
    uint64_t bytes;
} edgemoe_type_use;
/* By layer, projection and type. *uses belongs to the description. */
EDGEMOE_API edgemoe_code edgemoe_description_types(const edgemoe_description * description,
                                                   const edgemoe_type_use ** uses, size_t * n_uses,
                                                   edgemoe_error * error);

/* What a packed file says about itself: its numbers and texts under "edgemoe.packed.", without that prefix. */
typedef struct edgemoe_packed_entry {
    const char * name;
    const char * value;
} edgemoe_packed_entry;
/* None for a file that is not packed. What was not measured is not among them. *entries belongs to the description. */
EDGEMOE_API edgemoe_code edgemoe_description_packed(const edgemoe_description * description,
                                                    const edgemoe_packed_entry ** entries, size_t * n_entries,
                                                    edgemoe_error * error);

/* ---- tokens ---- */

/* Buffers that the library allocates; free them with the matching function. */
typedef struct edgemoe_tokens {
    int32_t * data;
    size_t size;
} edgemoe_tokens;
typedef struct edgemoe_text {
    char * data;
    size_t size;
} edgemoe_text; /* data is zero-terminated too */
EDGEMOE_API void edgemoe_tokens_free(edgemoe_tokens * tokens);
EDGEMOE_API void edgemoe_text_free(edgemoe_text * text);

/* `text_size` bytes of UTF-8 (EDGEMOE_INVALID_ARGUMENT if they are not). `add_special`: the beginning-of-text token
 * where the model wants one; `parse_special`: names of special tokens in the text become those tokens. */
EDGEMOE_API edgemoe_code edgemoe_tokenize(edgemoe_model * model, const char * text, size_t text_size, bool add_special,
                                          bool parse_special, edgemoe_tokens * tokens, edgemoe_error * error);
/* The bytes of the tokens; a token may end inside a UTF-8 character. */
EDGEMOE_API edgemoe_code edgemoe_detokenize(edgemoe_model * model, const int32_t * tokens, size_t n_tokens,
                                            bool special, edgemoe_text * text, edgemoe_error * error);

typedef struct edgemoe_message {
    const char * role;
    const char * content;
} edgemoe_message;
/* The prompt that the model's chat template makes of the messages. EDGEMOE_UNSUPPORTED if it has none. */
EDGEMOE_API edgemoe_code edgemoe_apply_chat_template(edgemoe_model * model, const edgemoe_message * messages,
                                                     size_t n_messages, bool add_assistant, edgemoe_text * text,
                                                     edgemoe_error * error);

/* ---- evaluating ---- */

/* Forgets all sequences (sequence < 0) or one. */
EDGEMOE_API edgemoe_code edgemoe_reset(edgemoe_model * model, int32_t sequence, edgemoe_error * error);

/* Appends `n_tokens` tokens to their sequences and evaluates them as one batch (n_tokens <= n_batch); with logits, in
 * parts of as many tokens as 16 MiB of logits hold, at least 40. `sequences`: one sequence number per token, NULL: all
 * 0. `logits`: NULL, or room for [n_tokens, n_vocab] floats. After a failure the sequences are as before the call. */
EDGEMOE_API edgemoe_code edgemoe_decode(edgemoe_model * model, const int32_t * tokens, const int32_t * sequences,
                                        size_t n_tokens, float * logits, edgemoe_error * error);

/* ---- generating ---- */

typedef struct edgemoe_generate_params {
    size_t struct_size;
    int32_t max_tokens; /* 256; < 0: until the model ends or the context is full */
    /* Sampling. NAN / INT32_MIN: the model's own default (general.sampling.* in the file), else the library's. */
    float temperature;         /* 0: greedy. Library's default 0.8 */
    int32_t top_k;             /* 0: off. 40 */
    float top_p;               /* 1: off. 0.95 */
    float min_p;               /* 0: off. 0.05 */
    float repeat_penalty;      /* 1: off. 1.0 */
    int32_t repeat_last_n;     /* tokens that the penalty looks back at; 64 */
    uint32_t seed;             /* 0xFFFFFFFF: a random one */
    bool ignore_eos;           /* go on after an end-of-generation token */
    bool add_special;          /* beginning-of-text token before the prompt where the model wants one; true */
    bool parse_special;        /* special tokens' names in the prompt become tokens; false */
    bool context_shift;        /* when the context is full, forget the older half and go on; false */
    const char * const * stop; /* texts that end the generation and are not part of it */
    size_t n_stop;
} edgemoe_generate_params;

EDGEMOE_API void edgemoe_generate_params_init(edgemoe_generate_params * params);

typedef enum edgemoe_stop_reason {
    EDGEMOE_STOP_LENGTH = 0,  /* max_tokens */
    EDGEMOE_STOP_END = 1,     /* the model's end-of-generation token */
    EDGEMOE_STOP_TEXT = 2,    /* a stop text */
    EDGEMOE_STOP_CONTEXT = 3, /* the context is full */
    EDGEMOE_STOP_CANCELLED = 4
} edgemoe_stop_reason;

/* `text`: `size` bytes, complete UTF-8 characters, valid during the call. Return false to stop. Called from the calling
 * thread. */
typedef bool (*edgemoe_text_callback)(const char * text, size_t size, void * user_data);

/* Resets sequence 0, evaluates the prompt and generates. The pieces given to `callback` (may be NULL) joined are the
 * text. Cancelling is not an error: *reason says so (may be NULL). EDGEMOE_INVALID_ARGUMENT for a prompt that is not
 * UTF-8 or does not fit the context. An empty prompt is the beginning-of-text token (EDGEMOE_INVALID_ARGUMENT if the
 * model has none). */
EDGEMOE_API edgemoe_code edgemoe_generate(edgemoe_model * model, const char * prompt, size_t prompt_size,
                                          const edgemoe_generate_params * params, edgemoe_text_callback callback,
                                          void * user_data, edgemoe_stop_reason * reason, edgemoe_error * error);

/* Stops what runs on the model now (load excepted: see edgemoe_progress_callback), from any thread or signal handler.
 */
EDGEMOE_API void edgemoe_cancel(edgemoe_model * model);

/* ---- statistics ---- */

/* Of the last edgemoe_generate, or of what edgemoe_decode did since. Zero where nothing was measured. */
typedef struct edgemoe_stats {
    size_t struct_size;
    uint64_t prompt_tokens;
    uint64_t generated_tokens;
    double prompt_seconds;
    double generation_seconds;
    double prompt_tokens_per_second;
    double generation_tokens_per_second;
    double load_seconds;
    uint64_t expert_requests;    /* experts asked for by generated tokens, once per token and layer */
    uint64_t expert_hits;        /* of these, already resident */
    double hit_rate;             /* hits / requests; 1 if nothing streams */
    uint64_t read_bytes;         /* expert bytes read from flash, prompt included */
    double read_bytes_per_token; /* per generated token, without the prompt's */
    uint64_t prompt_read_bytes;  /* expert bytes read while the prompt was evaluated */
    double stall_seconds;        /* time that computation waited for reads, prompt included */
    uint64_t peak_memory_bytes;  /* most memory that the process has used so far */
    uint64_t resident_experts;   /* in the cache now */
    uint64_t resident_expert_bytes;
    uint64_t row_read_bytes; /* read from row tables on flash since the model was loaded */
    /* Reading ahead, prompt included. Of what was read, each byte is useful or wasted once its layer has come. */
    uint64_t forecasts;                   /* experts named as likely, once per layer that names them */
    uint64_t read_ahead_bytes;            /* read before they were asked for */
    uint64_t read_ahead_useful_bytes;     /* of these, of experts that the layer chose */
    uint64_t read_ahead_wasted_bytes;     /* of these, of experts that it did not choose, or that left before */
    uint64_t read_ahead_cancelled_bytes;  /* asked for, and taken back before they were read */
    uint64_t prewarmed_bytes;             /* since the model was loaded */
    uint64_t tokens_with_read_ahead;      /* tokens during which reading ahead was allowed, */
    uint64_t tokens_without_read_ahead;   /* and during which it was not, to compare */
    double stall_seconds_with_read_ahead; /* during the former, and the latter */
    double stall_seconds_without_read_ahead;
} edgemoe_stats;

/* How many of the experts that a layer chose for single tokens were among as many that a forecast `distance` layers
   ahead named as its likeliest; since the model was loaded. */
typedef struct edgemoe_layer_recall {
    int32_t layer;
    int32_t distance;
    uint64_t n_chosen;
    uint64_t n_named;
} edgemoe_layer_recall;
typedef struct edgemoe_recall {
    edgemoe_layer_recall * data; /* by layer, then distance; those that there were forecasts for */
    size_t size;
} edgemoe_recall;
EDGEMOE_API void edgemoe_recall_free(edgemoe_recall * recall);
EDGEMOE_API edgemoe_code edgemoe_forecast_recall(const edgemoe_model * model, edgemoe_recall * recall,
                                                 edgemoe_error * error);

EDGEMOE_API void edgemoe_stats_init(edgemoe_stats * stats);
EDGEMOE_API edgemoe_code edgemoe_stats_get(const edgemoe_model * model, edgemoe_stats * stats, edgemoe_error * error);

/* ---- routing traces ---- */

/* From now on writes what the model's routers choose to the file `path` (created or replaced): a routing trace, which
 * edgemoe_replay_open reads. A recording that runs is ended first. Begun before anything is evaluated, a replay of it
 * gives the hits of single-token decoding exactly. EDGEMOE_UNSUPPORTED where nothing is streamed. */
EDGEMOE_API edgemoe_code edgemoe_start_recording(edgemoe_model * model, const char * path, edgemoe_error * error);
/* Ends the recording, if one runs; only then is the file whole. EDGEMOE_IO when it could not be written. */
EDGEMOE_API edgemoe_code edgemoe_stop_recording(edgemoe_model * model, edgemoe_error * error);

/* ---- planning ---- */

typedef struct edgemoe_plan_params {
    size_t struct_size;
    double probe_seconds; /* 1: for reading, and again for computing; 0: no speed is measured or estimated */
} edgemoe_plan_params;

EDGEMOE_API void edgemoe_plan_params_init(edgemoe_plan_params * params);

/* What loading would give. Missed bytes: expert bytes that a token has to read. */
typedef struct edgemoe_forecast {
    size_t struct_size;
    const char * mode;     /* "streamed", "resident", "dense", or "none": it does not fit. Static storage */
    const char * io;       /* I/O engine that was probed, or "none". Static storage */
    uint64_t memory_bytes; /* the ceiling in force, 0 if only the cache was given */
    /* What the ceiling has to hold, besides the expert cache. */
    uint64_t process_bytes; /* resident before loading */
    uint64_t hot_bytes;     /* weights in memory */
    uint64_t kv_cache_bytes;
    uint64_t compute_bytes; /* compute and output buffers, scratch memory */
    uint64_t io_bytes;      /* read buffers */
    uint64_t reserve_bytes; /* tokenizer, graphs, the allocator's losses: a guess */
    uint64_t expert_cache_bytes;
    uint64_t expert_bytes; /* slots of all experts */
    uint64_t least_memory_bytes;
    uint64_t useful_memory_bytes;
    uint64_t resident_memory_bytes; /* from here on every expert fits */
    int32_t n_ctx;
    uint64_t n_experts;          /* of all layers */
    uint64_t n_experts_cached;   /* that fit the cache */
    uint64_t token_expert_bytes; /* what the experts of one token take */
    double missed_bytes_uniform; /* per token if every expert were equally likely: the worst case */
    double missed_bytes_typical; /* per token as on routing of real models, with the default policy */
    /* Measured by the probe; 0 without one. */
    uint64_t read_bytes; /* mean size of a read, as loading would make them */
    double disk_bytes_per_second;
    double compute_seconds; /* of one token with every expert resident */
    /* An estimate of the speed of generating. Slow: worst-case routing, nothing overlapped; fast: typical routing,
     * reading and computing overlapped. 0 without a probe. */
    double tokens_per_second_slow;
    double tokens_per_second_fast;
    uint64_t map_bytes; /* what predicts experts; the ceiling has to hold it too */
} edgemoe_forecast;

EDGEMOE_API void edgemoe_forecast_init(edgemoe_forecast * forecast);

/* Reads headers, and with a probe some experts, and fills in *forecast. A memory figure that cannot be met is not an
 * error: mode "none". `params` and `plan_params` may be NULL. */
EDGEMOE_API edgemoe_code edgemoe_plan(const char * path, const edgemoe_load_params * params,
                                      const edgemoe_plan_params * plan_params, edgemoe_forecast * forecast,
                                      edgemoe_error * error);

typedef struct edgemoe_replay_params {
    size_t struct_size;
    const char * model;            /* GGUF file whose expert sizes count; NULL: as recorded in the trace */
    uint64_t expert_bytes;         /* of every expert, where neither model nor trace say it; 0: 1 MiB */
    const char * const * policies; /* eviction policies by name; none: all */
    size_t n_policies;
    const double * cache_shares; /* cache sizes as shares of all experts' bytes, above 0 and at most 1 */
    size_t n_cache_shares;
    const uint64_t * cache_bytes; /* and in bytes; neither: shares of 0.05, 0.1, 0.2 and 0.3 */
    size_t n_cache_bytes;
} edgemoe_replay_params;

EDGEMOE_API void edgemoe_replay_params_init(edgemoe_replay_params * params);

/* A trace replayed through policies. */
typedef struct edgemoe_replay edgemoe_replay;

typedef struct edgemoe_replay_info {
    size_t struct_size;
    const char * model; /* as the trace names it, or ""; lives as long as the replay */
    int32_t n_layers;
    int32_t n_experts;     /* per layer */
    uint64_t prompt_steps; /* ubatches of prompts */
    uint64_t tokens;       /* decoded */
    uint64_t expert_bytes; /* of all experts */
    size_t n_rows;
} edgemoe_replay_info;

/* One policy at one cache size, over the decoded tokens; prompts only warm the cache. */
typedef struct edgemoe_replay_row {
    size_t struct_size;
    const char * policy; /* or "belady": the bound that no policy can beat; lives as long as the replay */
    uint64_t cache_bytes;
    double cache_share; /* of all experts' bytes */
    uint64_t requests;  /* experts asked for, once per token and layer */
    uint64_t hits;      /* 0 for the bound, which may keep experts in part */
    double hit_rate;
    double missed_bytes_per_token;
    double ratio_to_lru;    /* missed bytes over those of LRU */
    double ratio_to_belady; /* missed bytes over those of the bound */
} edgemoe_replay_row;

EDGEMOE_API void edgemoe_replay_info_init(edgemoe_replay_info * info);
EDGEMOE_API void edgemoe_replay_row_init(edgemoe_replay_row * row);

/* Reads the routing trace at `path` (CSV, plain or packed by gzip) and replays it through the engine's own cache and
 * policies; nothing is loaded. `params` may be NULL. Rows come by cache size, by policy, the bound last. On success
 * *replay belongs to the caller: free it with edgemoe_replay_free. */
EDGEMOE_API edgemoe_code edgemoe_replay_open(const char * path, const edgemoe_replay_params * params,
                                             edgemoe_replay ** replay, edgemoe_error * error);
EDGEMOE_API edgemoe_code edgemoe_replay_describe(const edgemoe_replay * replay, edgemoe_replay_info * info,
                                                 edgemoe_error * error);
EDGEMOE_API edgemoe_code edgemoe_replay_get(const edgemoe_replay * replay, size_t i, edgemoe_replay_row * row,
                                            edgemoe_error * error);
EDGEMOE_API void edgemoe_replay_free(edgemoe_replay * replay);
/* ---- jobs: long calls that load models of their own ---- */

/* `step` names what is being done (valid during the call), `fraction` of it is done, from 0 to 1, and it takes about
 * `seconds_left` more (negative: not known yet). Return false to stop the job (EDGEMOE_CANCELLED). Called from the
 * calling thread, several times a second. */
typedef bool (*edgemoe_job_callback)(const char * step, double fraction, double seconds_left, void * user_data);

/* A packed file is a GGUF file that edgemoe_load reads like any other, in which each matrix of each expert may have a
 * type of its own, lies beside its expert's others, and has a checksum that is compared when it is first read.
 *
 * Packs the model at `path` (of a split one: the first file) as it is: every matrix keeps its type. `output` has its
 * name only once it is whole; on failure nothing of it is left, and what was there before stays. */
EDGEMOE_API edgemoe_code edgemoe_repack(const char * path, const char * output, edgemoe_job_callback progress,
                                        void * progress_user_data, edgemoe_error * error);

typedef struct edgemoe_unpack_params {
    size_t struct_size;
    const char * type; /* of the experts, by its ggml name ("f16", "q8_0"); NULL: for each layer and projection the one
                          with the most bits among its experts' */
    int32_t n_threads; /* 0: the cores that this process may use */
    edgemoe_job_callback progress;
    void * progress_user_data;
} edgemoe_unpack_params;
EDGEMOE_API void edgemoe_unpack_params_init(edgemoe_unpack_params * params);

/* Makes a stock GGUF file of the packed file at `path`, for other tools: one type for all experts of a layer's
 * projection. Experts of that type are copied, others are converted. `params` may be NULL. As above for `output`. */
EDGEMOE_API edgemoe_code edgemoe_unpack(const char * path, const char * output, const edgemoe_unpack_params * params,
                                        edgemoe_error * error);

typedef struct edgemoe_evaluate_params {
    size_t struct_size;
    const edgemoe_load_params * load; /* memory (for both models together), threads, I/O; NULL: the defaults. Its
                                         context and batch sizes and its progress are not used */
    const char * against;             /* path of the base model, NULL: none */
    uint32_t n_ctx;                   /* window in tokens; 512 */
    uint64_t n_tokens;                /* most tokens of the text that are used; 0: all */
    edgemoe_job_callback progress;
    void * progress_user_data;
} edgemoe_evaluate_params;

EDGEMOE_API void edgemoe_evaluate_params_init(edgemoe_evaluate_params * params);

/* Over the scored tokens: those of the second half of each window. Natural logarithms. */
typedef struct edgemoe_evaluation {
    size_t struct_size;
    uint64_t tokens; /* scored */
    double perplexity;
    double perplexity_error; /* standard error */
    /* 0 without a base model */
    double base_perplexity;
    double kl_divergence;       /* mean of KL(base || model) */
    double kl_divergence_error; /* its standard error */
    double argmax_agreement;    /* share of tokens where both models have the same likeliest token */
} edgemoe_evaluation;

EDGEMOE_API void edgemoe_evaluation_init(edgemoe_evaluation * evaluation);

/* How good the model at `path` is on a text, `text_size` bytes of UTF-8, of at least one window: the text is cut into
 * windows of n_ctx tokens, each evaluated from an empty context, as llama.cpp's perplexity tool does. */
EDGEMOE_API edgemoe_code edgemoe_evaluate(const char * path, const char * text, size_t text_size,
                                          const edgemoe_evaluate_params * params, edgemoe_evaluation * evaluation,
                                          edgemoe_error * error);

typedef struct edgemoe_profile_params {
    size_t struct_size;
    const edgemoe_load_params * load; /* as in edgemoe_evaluate_params */
    uint32_t n_ctx;                   /* window in tokens; 512 */
    uint64_t n_tokens;                /* most tokens of the text that are used; 0: all */
    const char * activations;         /* path of the temporary file of what the experts see; NULL: beside the output */
    bool keep_activations;            /* do not remove it at the end; false */
    bool sensitivity; /* find out what each type of each expert is expected to cost, for packing; true */
    edgemoe_job_callback progress;
    void * progress_user_data;
    bool maps; /* fit the linear maps that predict which experts come next; true */
} edgemoe_profile_params;

EDGEMOE_API void edgemoe_profile_params_init(edgemoe_profile_params * params);

/* What is known about a model's experts on a text. Immutable: any thread. */
typedef struct edgemoe_profile edgemoe_profile;

/* Evaluates the model at `path` on a text, `text_size` bytes of UTF-8, and writes what its experts did and saw to
 * `output`, which appears complete or not at all. Takes room on the disk beside the output for what the experts see, 2
 * bytes a number; the amount is checked first. When it is stopped, that file stays, and the same call goes on from it.
 * `profile` (may be NULL): what was written; free it with edgemoe_profile_free. */
EDGEMOE_API edgemoe_code edgemoe_profile_run(const char * path, const char * text, size_t text_size,
                                             const char * output, const edgemoe_profile_params * params,
                                             edgemoe_profile ** profile, edgemoe_error * error);

EDGEMOE_API edgemoe_code edgemoe_profile_open(const char * path, edgemoe_profile ** profile, edgemoe_error * error);
EDGEMOE_API void edgemoe_profile_free(edgemoe_profile * profile);

typedef struct edgemoe_profile_info {
    size_t struct_size;
    /* Strings are borrowed from the profile. */
    const char * architecture;
    const char * name; /* of the model, or "" */
    uint64_t n_tokens; /* of the text, in whole windows */
    int32_t n_ctx;     /* window */
    int32_t n_layers;  /* that have routed experts */
    int32_t n_experts; /* per layer */
    int32_t n_experts_used;
    uint32_t few_tokens;       /* an expert with fewer tokens is hardly reached */
    uint64_t n_hardly_reached; /* such experts */
    bool has_sensitivity;
    uint64_t map_bytes; /* of the linear maps that predict experts, in memory; 0: there are none */
} edgemoe_profile_info;

EDGEMOE_API void edgemoe_profile_info_init(edgemoe_profile_info * info);
EDGEMOE_API edgemoe_code edgemoe_profile_info_get(const edgemoe_profile * profile, edgemoe_profile_info * info,
                                                  edgemoe_error * error);

/* One layer; the arrays are borrowed from the profile. */
typedef struct edgemoe_layer_profile {
    size_t struct_size;
    int32_t layer; /* the N of blk.N */
    int32_t n_experts;
    int32_t n_experts_used;
    bool evaluated;          /* false: the model's graph does not use this layer's experts */
    uint64_t n_tokens;       /* rows of ids and weights */
    const uint32_t * counts; /* [n_experts]: tokens routed to each */
    const double * mass;     /* [n_experts]: sum of the router's weights */
    const int16_t * ids;     /* [n_tokens, n_experts_used]: experts of each token, in the router's order; -1: none */
    const float * weights;   /* [n_tokens, n_experts_used] */
    /* [n_experts, columns]: sum over the expert's tokens of the router's weight squared times the input squared, of
     * gate and up, and of down. Columns 0, NULL: not known. */
    int32_t input_columns;
    const float * input_moments;
    int32_t down_columns;
    const float * down_moments;
} edgemoe_layer_profile;

EDGEMOE_API void edgemoe_layer_profile_init(edgemoe_layer_profile * layer);
/* `index`: below n_layers. */
EDGEMOE_API edgemoe_code edgemoe_profile_layer_get(const edgemoe_profile * profile, size_t index,
                                                   edgemoe_layer_profile * layer, edgemoe_error * error);

typedef struct edgemoe_judge_params {
    size_t struct_size;
    const edgemoe_load_params * load; /* as in edgemoe_evaluate_params */
    uint64_t n_tokens;                /* most tokens of the text that are used; 0: all */
    const char * activations;         /* path of the temporary file of what the experts see; NULL: beside the profile */
    bool keep_activations;            /* do not remove it at the end; false */
    edgemoe_job_callback progress;
    void * progress_user_data;
} edgemoe_judge_params;

EDGEMOE_API void edgemoe_judge_params_init(edgemoe_judge_params * params);

/* How well each predictor knows which experts of the model at `path` come next: fitted on the text of `profile`, judged
 * on `text`, `text_size` bytes of UTF-8, which should be another one; and the hit rates of the eviction policies while
 * that text is decoded. *report is a JSON object, see docs/prediction.md; free it with edgemoe_text_free. */
EDGEMOE_API edgemoe_code edgemoe_judge_predictors(const char * path, const char * profile, const char * text,
                                                  size_t text_size, const edgemoe_judge_params * params,
                                                  edgemoe_text * report, edgemoe_error * error);

typedef enum edgemoe_objective {
    EDGEMOE_OBJECTIVE_SIZE = 0,      /* bytes in the file */
    EDGEMOE_OBJECTIVE_READ_BYTES = 1 /* bytes of the experts that a token uses: rare experts cost nothing */
} edgemoe_objective;

typedef struct edgemoe_pack_params {
    size_t struct_size;
    /* One of the three is not 0, or as_good_as is given. */
    double max_kl; /* tolerated KL divergence to the model, on calibration text that was held back: it is measured */
    uint64_t size_bytes; /* of the whole file */
    double bits;         /* per expert weight */
    edgemoe_objective objective;
    bool prefer_speed;   /* among mixes of that size, one that is faster on this machine, at up to 10% more damage */
    const char * types;  /* ggml types that experts may have, "iq2_xs,iq3_s,iq4_xs"; NULL: all K- and i-quants, q8_0 */
    bool error_feedback; /* choose the integers by second-order error feedback; true */
    bool measured_sensitivity;        /* measure each expert's damage one at a time: for small models; false */
    bool dry_run;                     /* allocate and report, write nothing; false */
    const edgemoe_load_params * load; /* memory, threads, I/O; NULL: the defaults. As in edgemoe_evaluate_params */
    edgemoe_job_callback progress;
    void * progress_user_data;
    /* A model file of the same network, such as llama-quantize's: its divergence on the same text is what is tolerated;
     * NULL: none */
    const char * as_good_as;
    uint64_t target_cache_bytes; /* expert cache behind which reads are counted, for EDGEMOE_OBJECTIVE_READ_BYTES and
                                    the report; 0: none */
} edgemoe_pack_params;

EDGEMOE_API void edgemoe_pack_params_init(edgemoe_pack_params * params);

/* Packs the model at `path` into the file `output`, each expert's matrices in types of their own, by the profile that
 * edgemoe_profile made. `output` appears complete or not at all (it is not written in a dry run, and may be NULL then);
 * a run that was interrupted is continued by the same call. *report (may be NULL) is a JSON object, see
 * docs/bit-widths.md; free it with edgemoe_text_free. EDGEMOE_OUT_OF_BUDGET: the limit is below what the types reach.
 */
EDGEMOE_API edgemoe_code edgemoe_pack(const char * path, const char * profile, const char * output,
                                      const edgemoe_pack_params * params, edgemoe_text * report, edgemoe_error * error);

#ifdef __cplusplus
}
#endif

#endif
