#include "cache/streaming_rule.h"

#include <algorithm>
#include <numeric>
#include <utility>

namespace edgemoe {
namespace {

// Large enough that reads of some experts go on while others are multiplied, small enough not to cost decode hits.
constexpr uint64_t kWindowShare = 16;  // of the cache: one in so many
constexpr uint64_t kWindowSlots = 8;   // and at least so many experts, if that is not more than half of the cache

}  // namespace

StreamingRule::StreamingRule(uint64_t budget_bytes, std::vector<uint64_t> layer_bytes, uint64_t slot_bytes,
                             int32_t n_experts_used)
    : budget_bytes_(budget_bytes),
      window_bytes_(std::max(
          std::min(std::max(budget_bytes / kWindowShare, kWindowSlots * slot_bytes), budget_bytes / 2), slot_bytes)),
      total_bytes_(std::accumulate(layer_bytes.begin(), layer_bytes.end(), uint64_t{0})),
      layer_bytes_(std::move(layer_bytes)),
      n_experts_used_(n_experts_used) {}

std::optional<StreamLimits> StreamingRule::limits(int32_t layer, size_t n_experts, uint64_t wanted_bytes) const {
    if (n_experts <= static_cast<size_t>(n_experts_used_)) {
        return std::nullopt;
    }
    // In floating point, because a product of two sizes does not fit; a share need not be exact.
    const double share =
        static_cast<double>(layer_bytes_[static_cast<size_t>(layer)]) / static_cast<double>(total_bytes_);
    const auto layer_bytes =
        static_cast<uint64_t>(share * static_cast<double>(budget_bytes_ - std::min(window_bytes_, budget_bytes_)));
    if (wanted_bytes <= layer_bytes || total_bytes_ <= budget_bytes_) {
        return std::nullopt;
    }
    return StreamLimits{layer_bytes, window_bytes_};
}

}  // namespace edgemoe
