// Makes a profile: one pass of the model over the text that spills activations, then layer by layer from the disk.
#pragma once

#include "engine/activation_spill.h"
#include "engine/job_progress.h"
#include "engine/load_options.h"
#include "engine/profile.h"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace edgemoe {

struct ProfileOptions {
    LoadOptions load;        // memory, threads, io; the context is set here
    uint32_t n_ctx = 512;    // window in tokens
    uint64_t n_tokens = 0;   // most tokens of the text that are used; 0: all
    std::string spill_path;  // "": the profile's path and ".activations"
    bool keep_spill = false;
    bool sensitivity = true;  // find out what each type of each matrix is expected to cost (engine/sensitivity.h)
    bool maps = true;         // fit what predicts experts (engine/map_training.h)
};

// Writes the profile to `path`. The spilled activations lie at spill_path and are removed at the end unless they are to
// be kept; when the run is interrupted they stay, and the same call goes on from them. kUnsupported for a model without
// routed experts or without a tokenizer, kInvalidArgument for a text of less than one window or that is not UTF-8,
// kOutOfBudget for too little memory, kIo for too little disk (with both figures), kCancelled.
Result<Profile> run_profile(const std::string & model, const std::string & text, const std::string & path,
                            const ProfileOptions & options, const JobProgress & progress);

// A text as a model sees it, and what its experts see of it.
struct CapturedText {
    std::vector<int32_t> tokens;  // whole windows
    std::unique_ptr<ActivationSpill> spill;
};

// The pass over a text: its activations at `path`, where what is there of them already is kept. Fails as run_profile().
Result<CapturedText> capture_text(const std::string & model, const std::string & text, uint32_t n_ctx,
                                  uint64_t n_tokens, const std::string & path, const LoadOptions & load,
                                  const JobProgress & progress);

// The same of tokens, as in Profile::tokens.
Result<std::unique_ptr<ActivationSpill>> capture_activations(const std::string & model,
                                                             const std::vector<int32_t> & tokens, uint32_t n_ctx,
                                                             const std::string & path, const LoadOptions & load,
                                                             const JobProgress & progress);

}  // namespace edgemoe
