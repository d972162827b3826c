// What the generated file cpu_variant_table.S lays out (cmake/write_variant_table.cmake). Plain C, filled before
// any constructor runs.
#pragma once

#include <cstdint>

extern "C" {

struct EdgemoeCpuVariant {
    const char * name;
    const char * features;
    int (*score)();            // ggml's: 0 if the processor lacks a feature
    void * const * functions;  // as many as there are slots, in their order
};

// Least first.
extern const EdgemoeCpuVariant edgemoe_cpu_variant_table[];
extern const uint64_t edgemoe_cpu_n_variants;
// Where the calls of kernels from outside go: one address for each function. Those of the first variant until
// edgemoe_cpu_select has run.
extern void * edgemoe_cpu_slots[];
extern const uint64_t edgemoe_cpu_n_slots;

}  // extern "C"
