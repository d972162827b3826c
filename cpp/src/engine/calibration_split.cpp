#include "engine/calibration_split.h"

#include "engine/expert_weights.h"

#include <algorithm>
#include <string>

namespace edgemoe {

namespace {

constexpr int64_t kHeldShare = 6;  // one window of so many
constexpr int64_t kStretches = 4;
constexpr int64_t kLeastStretchWindows = 12;  // shorter texts are cut into fewer stretches

}  // namespace

Result<CalibrationSplit> CalibrationSplit::of(int64_t n_tokens, int32_t n_ctx) {
    const int64_t n_windows = n_tokens / n_ctx;
    if (n_windows < 2) {
        return Status(StatusCode::kInvalidArgument, "the calibration text has " + std::to_string(n_tokens) +
                                                        " tokens; at least " + std::to_string(2 * n_ctx) +
                                                        " are needed, so that a part can be held back to judge by");
    }
    std::vector<bool> held(static_cast<size_t>(n_windows), false);
    const int64_t n_stretches = std::clamp<int64_t>(n_windows / kLeastStretchWindows, 1, kStretches);
    for (int64_t stretch = 0; stretch < n_stretches; stretch++) {
        const int64_t begin = stretch * n_windows / n_stretches;
        const int64_t end = (stretch + 1) * n_windows / n_stretches;
        const int64_t n_held = std::max<int64_t>(1, (end - begin) / kHeldShare);
        std::fill(held.begin() + (end - n_held), held.begin() + end, true);
    }
    return CalibrationSplit(n_ctx, std::move(held));
}

int64_t CalibrationSplit::n_held_windows() const {
    return std::count(held_.begin(), held_.end(), true);
}

bool CalibrationSplit::is_held(int64_t token) const {
    const auto window = static_cast<size_t>(token / n_ctx_);
    return window < held_.size() && held_[window];
}

std::vector<int32_t> CalibrationSplit::held_tokens(const std::vector<int32_t> & tokens, int64_t n_most) const {
    return windows(tokens, true, n_most);
}

std::vector<int32_t> CalibrationSplit::fitted_tokens(const std::vector<int32_t> & tokens, int64_t n_most) const {
    return windows(tokens, false, n_most);
}

std::vector<int32_t> CalibrationSplit::windows(const std::vector<int32_t> & tokens, bool held, int64_t n_most) const {
    std::vector<int64_t> wanted;
    for (size_t i = 0; i < held_.size(); i++) {
        if (held_[i] == held) {
            wanted.push_back(static_cast<int64_t>(i));
        }
    }
    std::vector<int32_t> found;
    const auto n = static_cast<int64_t>(wanted.size());
    for (const int64_t i : evenly_spaced(n, n_most == 0 ? n : n_most)) {
        const auto begin = tokens.begin() + wanted[static_cast<size_t>(i)] * n_ctx_;
        found.insert(found.end(), begin, begin + n_ctx_);
    }
    return found;
}

}  // namespace edgemoe
