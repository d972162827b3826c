// Which of the kernels that this build contains run on this machine.
//
// A build has one variant ("native": for the machine that compiles it), or, with EDGEMOE_CPU_VARIANTS=ON, several, each
// compiled for a set of instructions (cmake/cpu_variants.cmake). Among those the choice is made when the library is
// loaded, before anything runs: the best one by ggml's own score whose registers the operating system also saves. The
// environment variable EDGEMOE_CPU forces a variant by its name ("auto": no other than unset).
//
// Any number of threads; nothing here changes after loading.
#pragma once

#include "base/status.h"

#include <string>
#include <vector>

namespace edgemoe {

struct CpuVariant {
    std::string name;      // "haswell"
    std::string features;  // "AVX F16C FMA AVX2 BMI2"
    bool usable = false;   // by this processor under this operating system
    bool chosen = false;
};

// Least first.
std::vector<CpuVariant> cpu_variants();

// The name of the one that runs.
std::string cpu_variant_name();

// kUnsupported: no variant can run here, or EDGEMOE_CPU names one that cannot; kInvalidArgument: it names none of this
// build's. Then no kernel must be called. The message lists what there is.
Status cpu_variant_status();

}  // namespace edgemoe
