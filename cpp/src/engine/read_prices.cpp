#include "engine/read_prices.h"

#include "base/checked.h"
#include "cache/expert_cache.h"
#include "engine/packed_format.h"
#include "simulate/replay.h"
#include "store/slot_sizes.h"

#include "ggml.h"

#include <algorithm>

namespace edgemoe {

namespace {

// The pressure is the difference between caches that are smaller and larger by this share: wide enough to stand out
// from the noise of a few thousand tokens.
constexpr double kCacheStep = 0.1;

// The replay knows an expert's size alone and takes it for three matrices where it is a multiple of three granules; so
// that is what it is told.
constexpr uint64_t kSizeUnit = 3 * ExpertCache::kGranularity;

uint64_t matrix_bytes(const ExpertPart & part, int32_t type) {
    return ggml_row_size(static_cast<ggml_type>(type), part.columns) * static_cast<uint64_t>(part.rows);
}

}  // namespace

ReadPrices uncached_prices(const Profile & profile, const ExpertIndex & index) {
    ReadPrices prices;
    for (const ExpertLayer & layer : index.layers()) {
        std::vector<double> & of_layer = prices.emplace_back(layer.experts.size(), 0.0);
        const LayerProfile * known = profile.find(layer.layer);
        for (size_t expert = 0; known != nullptr && known->evaluated && expert < of_layer.size(); expert++) {
            of_layer[expert] = static_cast<double>(known->counts[expert]) /
                               static_cast<double>(std::max<size_t>(1, profile.tokens.size()));
        }
    }
    return prices;
}

ReadSimulation::ReadSimulation(const Profile & profile, const ExpertIndex & index) : index_(index) {
    trace_.shape = policy_shape(index);
    trace_.sizes = slot_sizes(index);
    const size_t n_tokens = std::min(kMostTokens, profile.tokens.size());
    for (size_t token = 0; token < n_tokens; token++) {
        TraceStep & step = trace_.steps.emplace_back();
        for (const LayerProfile & layer : profile.layers) {
            if (!layer.evaluated || token >= layer.routing.n_tokens()) {
                continue;
            }
            const auto n_used = static_cast<size_t>(layer.routing.n_used);
            const auto begin = layer.routing.ids.begin() + static_cast<std::ptrdiff_t>(token * n_used);
            TraceLayer served;
            served.layer = layer.routing.layer;
            std::copy_if(begin, begin + static_cast<std::ptrdiff_t>(n_used), std::back_inserter(served.experts),
                         [](int16_t id) { return id >= 0; });
            if (!served.experts.empty()) {
                step.layers.push_back(std::move(served));
            }
        }
    }
}

Result<ReadSimulation::Traffic> ReadSimulation::replay(const PackedTypes & types, uint64_t cache_bytes) {
    std::vector<std::vector<double>> file_bytes;  // with padding
    const auto place = [this](size_t layer, size_t expert) {
        return static_cast<size_t>(index_.layers()[layer].layer) * static_cast<size_t>(trace_.shape.n_experts) + expert;
    };
    for (size_t layer = 0; layer < types.size(); layer++) {
        file_bytes.emplace_back(types[layer].size(), 0.0);
        for (size_t expert = 0; expert < types[layer].size(); expert++) {
            uint64_t slot_bytes = 0;
            for (size_t p = 0; p < kProjectionCount; p++) {
                const ExpertPart & part = index_.layers()[layer].experts[expert][p];
                if (part.present) {
                    const uint64_t bytes = matrix_bytes(part, types[layer][expert][p]);
                    slot_bytes += bytes;
                    file_bytes.back()[expert] += static_cast<double>(align_up(bytes, kPackedAlignment));
                }
            }
            trace_.sizes.bytes[place(layer, expert)] = align_up(slot_bytes, kSizeUnit);
        }
    }
    const Result<ReplayResult> replayed = edgemoe::replay(trace_, kDefaultPolicyAlias, cache_bytes);
    if (!replayed.is_ok()) {
        return replayed.status();
    }
    const double n_tokens = std::max(1.0, static_cast<double>(replayed.value().decode_tokens));
    Traffic traffic;
    for (size_t layer = 0; layer < types.size(); layer++) {
        traffic.misses.emplace_back();
        traffic.residency.emplace_back();
        for (size_t expert = 0; expert < types[layer].size(); expert++) {
            const ExpertTraffic & counted = replayed.value().experts[place(layer, expert)];
            const double misses = static_cast<double>(counted.misses) / n_tokens;
            traffic.misses.back().push_back(misses);
            traffic.residency.back().push_back(static_cast<double>(counted.resident_steps) / n_tokens);
            traffic.read_bytes_per_token += misses * file_bytes[layer][expert];
        }
    }
    return traffic;
}

Result<double> ReadSimulation::read_bytes_per_token(const PackedTypes & types, uint64_t cache_bytes) {
    const Result<Traffic> traffic = replay(types, cache_bytes);
    return traffic.is_ok() ? Result<double>(traffic.value().read_bytes_per_token) : traffic.status();
}

Result<ReadPrices> ReadSimulation::prices(const PackedTypes & types, uint64_t cache_bytes) {
    const double step = kCacheStep * static_cast<double>(cache_bytes);
    const Result<Traffic> traffic = replay(types, cache_bytes);
    const Result<double> smaller = read_bytes_per_token(types, cache_bytes - static_cast<uint64_t>(step));
    const Result<double> larger = read_bytes_per_token(types, cache_bytes + static_cast<uint64_t>(step));
    for (const Status & status : {traffic.status(), smaller.status(), larger.status()}) {
        if (!status.is_ok()) {
            return status;
        }
    }
    const double pressure = std::max(0.0, (smaller.value() - larger.value()) / (2 * step));
    // An expert that the text never reaches will be read now and then: once in all of it.
    const double least = 1 / std::max(1.0, static_cast<double>(trace_.steps.size()));
    ReadPrices prices = traffic.value().misses;
    for (size_t layer = 0; layer < prices.size(); layer++) {
        for (size_t expert = 0; expert < prices[layer].size(); expert++) {
            prices[layer][expert] =
                std::max(least, prices[layer][expert] + pressure * traffic.value().residency[layer][expert]);
        }
    }
    return prices;
}

}  // namespace edgemoe
