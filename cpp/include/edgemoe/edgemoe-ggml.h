/* edgemoe for programs that use llama.cpp and ggml already: experts stream from flash into a model that the program
 * loads and runs by llama.cpp's own functions. docs/embedding.md shows the lines to add, examples/llama-cpp a program.
 *
 * ggml and llama.cpp are the program's: this library (CMake: edgemoe::ggml) has none inside, and has to be compiled
 * with the headers of the version that the program links. Do not use it and libedgemoe for the same model.
 *
 * Errors, strings, structs: as in edgemoe.h. Threads: one at a time, but edgemoe_ggml_stats_get for any.
 */
#ifndef EDGEMOE_GGML_H
#define EDGEMOE_GGML_H

#include <edgemoe/edgemoe.h>

#include <ggml-backend.h>
#include <ggml.h>

#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What streams the experts of one model. */
typedef struct edgemoe_ggml edgemoe_ggml;

typedef struct edgemoe_ggml_params {
    size_t struct_size;
    uint64_t expert_cache_bytes; /* 0: room for all experts. What else the program uses is its own to count */
    const char * io;             /* as in edgemoe_load_params, and so are the next two */
    const char * eviction;
    edgemoe_toggle direct_io;
    /* The pool that the program attaches to its contexts (llama_attach_threadpool), which outlives `*streams`: experts
     * are multiplied on it too. NULL: threads are started anew for each layer, which is slow. */
    ggml_threadpool_t threadpool;
} edgemoe_ggml_params;

EDGEMOE_API void edgemoe_ggml_params_init(edgemoe_ggml_params * params);

/* Reads the headers of the GGUF file at `path` (the first one, if it is split) and makes the expert cache; registers
 * the device EdgeMoE with ggml, once per process, which llama.cpp then adds to every context. `params` may be NULL. On
 * success *streams belongs to the caller. EDGEMOE_OUT_OF_BUDGET names the least cache that works. */
EDGEMOE_API edgemoe_code edgemoe_ggml_open(const char * path, const edgemoe_ggml_params * params,
                                           edgemoe_ggml ** streams, edgemoe_error * error);

/* Not before the llama_model and its contexts are freed. NULL is ignored. */
EDGEMOE_API void edgemoe_ggml_free(edgemoe_ggml * streams);

/* For llama_model_load_from_file_ptr, with load mode NONE: the model as one file. What every token needs is read from
 * the real files, experts are passed over. Borrowed; needed until the model is loaded. */
EDGEMOE_API FILE * edgemoe_ggml_file(edgemoe_ggml * streams);

/* For llama_model_params.tensor_buft_overrides: the pattern of the experts' names (static storage), and the buffer type
 * in which they have addresses and no memory. Borrowed. */
EDGEMOE_API const char * edgemoe_ggml_pattern(void);
EDGEMOE_API ggml_backend_buffer_type_t edgemoe_ggml_buffer_type(edgemoe_ggml * streams);

/* llama.cpp says that loading or computing failed, this says why, and forgets it: EDGEMOE_OK if it was not for want of
 * an expert or of a part of the file. After a failed llama_decode the context can be used again. */
EDGEMOE_API edgemoe_code edgemoe_ggml_take_failure(edgemoe_ggml * streams, edgemoe_error * error);

/* Since the opening. */
typedef struct edgemoe_ggml_stats {
    size_t struct_size;
    uint64_t expert_requests; /* experts asked for, once per layer and batch */
    uint64_t expert_hits;     /* of these, already resident or on their way */
    uint64_t read_bytes;      /* of experts */
    double stall_seconds;     /* time that computation waited for reads */
    uint64_t expert_cache_bytes;
    uint64_t resident_expert_bytes; /* in the cache now */
} edgemoe_ggml_stats;

EDGEMOE_API void edgemoe_ggml_stats_init(edgemoe_ggml_stats * stats);
EDGEMOE_API edgemoe_code edgemoe_ggml_stats_get(const edgemoe_ggml * streams, edgemoe_ggml_stats * stats,
                                                edgemoe_error * error);

#ifdef __cplusplus
}
#endif

#endif
