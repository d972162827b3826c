#include "simulate/comparison.h"

#include "simulate/replay.h"

#include <algorithm>
#include <limits>

namespace edgemoe {
namespace {

constexpr const char * kReferencePolicy = "lru";

double ratio(double a, double b) {
    return b > 0 ? a / b : a > 0 ? std::numeric_limits<double>::infinity() : 1.0;
}

Result<std::vector<uint64_t>> cache_sizes(const RoutingTrace & trace, const ComparisonOptions & options) {
    const bool none_given = options.shares.empty() && options.cache_bytes.empty();
    const std::vector<double> shares = none_given ? std::vector<double>{0.05, 0.10, 0.20, 0.30} : options.shares;
    std::vector<uint64_t> sizes;
    for (const double share : shares) {
        if (!(share > 0 && share <= 1)) {
            return Status(StatusCode::kInvalidArgument,
                          "a cache of " + std::to_string(share) + " of all experts: shares are above 0 and at most 1");
        }
        sizes.push_back(static_cast<uint64_t>(share * static_cast<double>(trace.sizes.total())));
    }
    sizes.insert(sizes.end(), options.cache_bytes.begin(), options.cache_bytes.end());
    return sizes;
}

}  // namespace

Result<std::vector<ComparisonRow>> compare_policies(const RoutingTrace & trace, const ComparisonOptions & options) {
    const uint64_t n_tokens = trace.n_decode_steps();
    if (n_tokens == 0) {
        return Status(StatusCode::kInvalidArgument, "the trace has no decoded tokens (phase 1), only a prompt");
    }
    const Result<std::vector<uint64_t>> sizes = cache_sizes(trace, options);
    if (!sizes.is_ok()) {
        return sizes.status();
    }
    std::vector<std::string> policies = options.policies;
    if (policies.empty()) {
        policies = eviction_policy_names();
        policies.erase(std::remove(policies.begin(), policies.end(), kDefaultPolicyAlias), policies.end());
    }
    std::vector<ComparisonRow> rows;
    for (const uint64_t cache_bytes : sizes.value()) {
        const BeladyResult bound = replay_belady(trace, cache_bytes);
        const Result<ReplayResult> reference = replay(trace, kReferencePolicy, cache_bytes);
        if (!reference.is_ok()) {
            return reference.status();
        }
        const size_t first = rows.size();
        ComparisonRow row;
        row.cache_bytes = cache_bytes;
        row.cache_share = static_cast<double>(cache_bytes) / static_cast<double>(trace.sizes.total());
        for (const std::string & policy : policies) {
            const Result<ReplayResult> result =
                policy == kReferencePolicy ? reference : replay(trace, policy, cache_bytes);
            if (!result.is_ok()) {
                return result.status();
            }
            const ReplayResult & counted = result.value();
            row.policy = policy;
            row.requests = counted.requests;
            row.hits = counted.hits;
            row.hit_rate = counted.hit_rate();
            row.missed_bytes_per_token = counted.missed_bytes_per_token();
            rows.push_back(row);
        }
        row.policy = kBoundName;
        row.hits = 0;
        row.hit_rate = bound.hit_rate();
        row.missed_bytes_per_token = static_cast<double>(bound.missed_bytes) / static_cast<double>(n_tokens);
        rows.push_back(row);
        for (size_t i = first; i < rows.size(); ++i) {
            rows[i].ratio_to_lru = ratio(rows[i].missed_bytes_per_token, reference.value().missed_bytes_per_token());
            rows[i].ratio_to_bound = ratio(rows[i].missed_bytes_per_token, rows.back().missed_bytes_per_token);
        }
    }
    return rows;
}

}  // namespace edgemoe
