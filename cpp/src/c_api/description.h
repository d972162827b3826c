// Fills in edgemoe_model_info from a model or from a file that was not loaded, and owns the strings that it borrows.
#pragma once

#include "edgemoe/edgemoe.h"
#include "engine/model.h"

#include <string>

namespace edgemoe {

// The strings live here; REQUIRES: outlives the info filled in from it.
struct DescriptionStrings {
    std::string path, architecture, name, mode, io, io_reason, types, cpu;
};

void describe_source(const GgufSource & source, const MemoryPlan & plan, DescriptionStrings * strings,
                     edgemoe_model_info * info);
void describe_model(const Model & model, int32_t n_ctx, int32_t n_batch, DescriptionStrings * strings,
                    edgemoe_model_info * info);

}  // namespace edgemoe
