#include "engine/pack_metadata.h"

#include "engine/packed_format.h"

#include "ggml.h"

#include <filesystem>
#include <string>

namespace edgemoe {

namespace {

std::string describe_limit(const PackOptions & options) {
    if (!options.as_good_as.empty()) {
        return "as good as " + std::filesystem::path(options.as_good_as).filename().string() + ": KL divergence " +
               std::to_string(options.max_kl);
    }
    if (options.max_kl > 0) {
        return "KL divergence " + std::to_string(options.max_kl);
    }
    return options.size_bytes > 0 ? "file of " + std::to_string(options.size_bytes) + " bytes"
                                  : std::to_string(options.bits) + " bits per expert weight";
}

}  // namespace

std::vector<GgufKeyValue> pack_metadata(const PackInputs & inputs, const PackOptions & options,
                                        const TypeAllocation & allocation) {
    std::vector<std::string> ladder;
    for (const int32_t type : options.ladder) {
        ladder.emplace_back(ggml_type_name(static_cast<ggml_type>(type)));
    }
    std::vector<uint32_t> counts;
    for (const LayerProfile & layer : inputs.profile().layers) {
        counts.insert(counts.end(), layer.counts.begin(), layer.counts.end());
    }
    const std::string prefix = kPackedPrefix;
    return {
        {prefix + "limit", describe_limit(options)},
        {prefix + "objective", std::string(options.objective == PackObjective::kSize ? "size" : "read-bytes")},
        {prefix + "target_cache_bytes", options.target_cache_bytes},
        {prefix + "prefer_speed", options.prefer_speed},
        {prefix + "ladder", ladder},
        {prefix + "rounding", std::string(options.rounding == Rounding::kFeedback ? "error feedback" : "nearest")},
        {prefix + "sensitivity", inputs.sensitivity().formula},
        {prefix + "expected_kl_divergence", allocation.kl_divergence},
        {prefix + "allocation_gap", allocation.gap},
        {prefix + "bits_per_expert_weight", allocation.bits},
        {prefix + "calibration_tokens", static_cast<uint64_t>(inputs.profile().tokens.size())},
        {prefix + "expert_counts", counts},
    };
}

}  // namespace edgemoe
