// From a prompt to text.
#pragma once

#include "base/status.h"
#include "engine/sampler.h"
#include "engine/session.h"

#include <functional>
#include <string>
#include <vector>

namespace edgemoe {

struct GenerateOptions {
    int32_t max_tokens = 256;  // < 0: until the model ends or the context is full
    SamplingOptions sampling;
    bool ignore_eos = false;
    bool add_special = true;
    bool parse_special = false;
    bool context_shift = false;
    std::vector<std::string> stop;
};

enum class StopReason { kLength = 0, kEnd = 1, kText = 2, kContext = 3, kCancelled = 4 };

// Resets sequence 0, evaluates the prompt and generates; `on_text` gets complete UTF-8 characters and stops it by
// returning false. Cancelling (also by Session::cancel) is a reason, not an error. Leaves the statistics in the
// session.
Result<StopReason> generate(Session & session, const std::string & prompt, const GenerateOptions & options,
                            const std::function<bool(const std::string &)> & on_text);

}  // namespace edgemoe
