#include "engine/pack_limits.h"

#include "engine/memory_plan.h"
#include "engine/pack_metadata.h"
#include "engine/packed_format.h"
#include "engine/packed_writer.h"

#include <algorithm>
#include <cmath>
#include <string>

namespace edgemoe {

namespace {

constexpr double kCurveStep = 0.25;  // bits
constexpr double kCurveEnd = 6.75;

// Turns of types and prices. The prices of a turn are the mean with those before, or they would swing: an expert that
// was made larger because it costs little then costs more.
constexpr int kPriceTurns = 5;

// What a file has beside `expert_bytes` (padded): hot weights and header.
Result<uint64_t> other_bytes(const PackInputs & inputs, const PackOptions & options) {
    TypeAllocation stored;
    stored.types = stored_types(inputs.source().experts());
    const Result<uint64_t> whole = packed_bytes(inputs, options, stored);
    if (!whole.is_ok()) {
        return whole.status();
    }
    uint64_t experts = 0;
    for (const ExpertLayer & layer : inputs.source().experts().layers()) {
        for (const ExpertParts & parts : layer.experts) {
            for (const ExpertPart & part : parts) {
                experts += part.present ? (part.bytes + kPackedAlignment - 1) / kPackedAlignment * kPackedAlignment : 0;
            }
        }
    }
    return whole.value() - experts;
}

// The header depends a little on the types; so the experts' share of the file is found by trying.
Result<TypeAllocation> fit_file(const TypeAllocator & allocator, const PackInputs & inputs,
                                const PackOptions & options) {
    const uint64_t file_bytes = options.size_bytes;
    const Result<uint64_t> first = other_bytes(inputs, options);
    if (!first.is_ok()) {
        return first.status();
    }
    uint64_t other = first.value();
    for (int attempt = 0; attempt < 4; attempt++) {
        Result<TypeAllocation> found = file_bytes > other
                                           ? allocator.for_padded_bytes(file_bytes - other)
                                           : Result<TypeAllocation>(Status(StatusCode::kOutOfBudget, ""));
        if (!found.is_ok()) {
            return found.status().code() == StatusCode::kOutOfBudget
                       ? Status(StatusCode::kOutOfBudget, mebibytes(file_bytes) +
                                                              " are too small for this model with these types; its hot "
                                                              "weights alone take " +
                                                              mebibytes(other))
                       : found.status();
        }
        const Result<uint64_t> whole = packed_bytes(inputs, options, found.value());
        if (!whole.is_ok() || whole.value() <= file_bytes) {
            return whole.is_ok() ? found : Result<TypeAllocation>(whole.status());
        }
        other += whole.value() - file_bytes;
    }
    return Status(StatusCode::kInternal, "the file does not come to its size");
}

Result<TypeAllocator> price_reads(TypeAllocator allocator, const PackInputs & inputs, const PackOptions & options,
                                  const JobProgress & progress) {
    ProgressMeter meter(progress, "replaying the routing");
    ReadSimulation simulation(inputs.profile(), inputs.source().experts());
    ReadPrices prices;
    for (int turn = 0; turn < kPriceTurns; turn++) {
        const Result<TypeAllocation> allocation = allocate_for_limit(allocator, inputs, options);
        if (!allocation.is_ok()) {
            return allocation.status();
        }
        Result<ReadPrices> found = simulation.prices(allocation.value().types, options.target_cache_bytes);
        if (!found.is_ok()) {
            return found.status();
        }
        for (size_t layer = 0; layer < prices.size(); layer++) {
            for (size_t expert = 0; expert < prices[layer].size(); expert++) {
                double & price = found.value()[layer][expert];
                price = (price + prices[layer][expert]) / 2;
            }
        }
        prices = std::move(found).value();
        allocator = allocator.with_read_prices(prices);
        if (!meter.report(static_cast<double>(turn + 1) / kPriceTurns)) {
            return Status(StatusCode::kCancelled, "cancelled while replaying the routing");
        }
    }
    return allocator;
}

}  // namespace

Result<TypeAllocator> make_allocator(const PackInputs & inputs, const PackOptions & options,
                                     const JobProgress & progress) {
    Result<TypeAllocator> allocator = TypeAllocator::create(inputs.source(), inputs.profile(), inputs.sensitivity(),
                                                            {options.ladder, options.objective, options.prefer_speed});
    const bool is_priced = options.objective == PackObjective::kReadBytes && options.target_cache_bytes > 0;
    return allocator.is_ok() && is_priced ? price_reads(std::move(allocator).value(), inputs, options, progress)
                                          : std::move(allocator);
}

Status check_limit(const PackOptions & options) {
    const int n_limits =
        (options.max_kl != 0) + (options.size_bytes != 0) + (options.bits != 0) + (options.as_good_as.empty() ? 0 : 1);
    if (n_limits != 1 || !(options.max_kl >= 0) || !(options.bits >= 0)) {
        return Status(
            StatusCode::kInvalidArgument,
            "give one limit: the tolerated KL divergence, a file that is good enough, the file's size, or bits per "
            "expert weight");
    }
    if (options.size_bytes != 0 && options.objective == PackObjective::kReadBytes) {
        return Status(StatusCode::kInvalidArgument,
                      "a file size cannot be kept where rare experts count for nothing: with the objective read-bytes, "
                      "give bits or a tolerated KL divergence");
    }
    return Status::ok();
}

Result<TypeAllocation> allocate_for_limit(const TypeAllocator & allocator, const PackInputs & inputs,
                                          const PackOptions & options) {
    if (options.bits > 0) {
        Result<TypeAllocation> found = allocator.for_bits(options.bits);
        if (!found.is_ok() && found.status().code() == StatusCode::kOutOfBudget) {
            return Status(StatusCode::kOutOfBudget, std::to_string(options.bits) +
                                                        " bits per expert weight are too few: the least with these "
                                                        "types is " +
                                                        std::to_string(allocator.least_bits()));
        }
        return found;
    }
    return options.size_bytes > 0 ? fit_file(allocator, inputs, options) : allocator.for_divergence(options.max_kl);
}

Result<uint64_t> packed_bytes(const PackInputs & inputs, const PackOptions & options,
                              const TypeAllocation & allocation) {
    return packed_file_bytes(inputs.source(), allocation.types, pack_metadata(inputs, options, allocation),
                             &inputs.profile().maps);
}

Result<std::vector<PackPoint>> pack_curve(const TypeAllocator & allocator, const PackInputs & inputs,
                                          const PackOptions & options) {
    std::vector<PackPoint> curve;
    const double begin = std::ceil(allocator.least_bits() / kCurveStep) * kCurveStep;
    for (double bits = begin; bits <= std::min(kCurveEnd, allocator.most_bits()); bits += kCurveStep) {
        const Result<TypeAllocation> found = allocator.for_bits(bits);
        if (!found.is_ok()) {
            continue;  // the least of an objective that counts otherwise
        }
        const Result<uint64_t> bytes = packed_bytes(inputs, options, found.value());
        if (!bytes.is_ok()) {
            return bytes.status();
        }
        curve.push_back(
            {found.value().bits, found.value().kl_divergence, bytes.value(), found.value().read_bytes_per_token});
    }
    return curve;
}

}  // namespace edgemoe
