// Which part of a calibration text is fitted to, and which is held back to judge what was fitted.
#pragma once

#include "base/status.h"

#include <cstdint>
#include <vector>

namespace edgemoe {

// A sixth of the text's windows is held back: the last ones of each of a few equal stretches, so that they are of other
// documents than what surrounds them, but of all parts of the text. Immutable, thread-safe.
class CalibrationSplit {
public:
    // kInvalidArgument for less than two windows of `n_ctx` tokens.
    static Result<CalibrationSplit> of(int64_t n_tokens, int32_t n_ctx);

    int64_t n_windows() const { return static_cast<int64_t>(held_.size()); }
    int64_t n_held_windows() const;
    bool is_held(int64_t token) const;  // tokens behind the last whole window are not

    // The held-back windows of `tokens`, one after the other; at most `n_most` windows, evenly spaced; 0: all.
    std::vector<int32_t> held_tokens(const std::vector<int32_t> & tokens, int64_t n_most) const;
    // The same of the others.
    std::vector<int32_t> fitted_tokens(const std::vector<int32_t> & tokens, int64_t n_most) const;

private:
    CalibrationSplit(int32_t n_ctx, std::vector<bool> held) : n_ctx_(n_ctx), held_(std::move(held)) {}
    std::vector<int32_t> windows(const std::vector<int32_t> & tokens, bool held, int64_t n_most) const;

    int32_t n_ctx_;
    std::vector<bool> held_;  // by window
};

}  // namespace edgemoe
