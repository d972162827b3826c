// Which type each expert's matrix gets under a limit: the profile's expected damages put before quant/allocation.
#pragma once

#include "base/expert_id.h"
#include "base/status.h"
#include "engine/gguf_source.h"
#include "engine/packed_layout.h"
#include "engine/profile.h"
#include "engine/read_prices.h"
#include "quant/allocation.h"

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace edgemoe {

enum class PackObjective : uint8_t {
    kSize,      // bytes in the file
    kReadBytes  // bytes that a token reads: those of all experts that it uses, or what an expert cache leaves of them
};

struct TypeSpeed {
    int32_t type = 0;
    double bits = 0;           // per weight
    double ns_per_weight = 0;  // on one thread of this machine; 0: cannot be multiplied with
};

struct AllocatorOptions {
    std::vector<int32_t> ladder;
    PackObjective objective = PackObjective::kSize;
    // Of the mixes that fit the limit, the fastest whose expected damage is at most kSpeedDamage above the least. The
    // file is of the size that it would have had.
    bool prefer_speed = false;
    static constexpr double kSpeedDamage = 0.10;
};

struct TypeAllocation {
    PackedTypes types;
    double kl_divergence = 0;  // expected
    double gap = 0;            // quant/allocation.h
    double cost = 0;           // what the objective counts: bytes in the file, or bytes read per token
    uint64_t expert_bytes = 0;
    uint64_t padded_bytes = 0;        // as they lie in the file
    double bits = 0;                  // per expert weight
    double read_bytes_per_token = 0;  // of the experts that a token uses, without a cache
    double kernel_ms_per_token = 0;   // their products on one thread
};

// Immutable after create(), thread-safe.
class TypeAllocator {
public:
    // Measures the types' speed. kInvalidArgument: a ladder of which no type fits the experts' rows. `source` outlives
    // it.
    static Result<TypeAllocator> create(const GgufSource & source, const Profile & profile,
                                        const SensitivityTable & table, const AllocatorOptions & options);

    // The same with what a byte of each expert costs for kReadBytes; create() sets uncached_prices().
    TypeAllocator with_read_prices(const ReadPrices & prices) const;

    // Least cost (the objective's) whose expected KL divergence is at most this.
    Result<TypeAllocation> for_divergence(double kl_divergence) const;
    // Least damage at this many bits per expert weight; with kReadBytes: on the average by what a byte costs.
    Result<TypeAllocation> for_bits(double bits) const;
    // Least damage of experts that take at most this many bytes in a packed file.
    Result<TypeAllocation> for_padded_bytes(uint64_t bytes) const;

    const std::vector<TypeSpeed> & speeds() const { return speeds_; }  // of the ladder's types that fit
    double least_bits() const { return least_bits_; }
    double most_bits() const { return most_bits_; }

private:
    enum class Cost { kBytes, kPaddedBytes, kReadBytes };

    // One expert's projection, beside its choices.
    struct Matrix {
        size_t layer = 0;  // position in ExpertIndex::layers()
        ExpertId id;
        size_t projection = 0;
        double weights = 0;
        double frequency = 0;   // uses per token
        double read_price = 0;  // ReadPrices
    };

    TypeAllocator() = default;
    void add_matrix(const Matrix & matrix, const ExpertPart & part, const LayerProfile * profile,
                    const std::vector<float> * damage, const SensitivityTable & table,
                    const std::vector<int32_t> & ladder);
    std::vector<Group> groups(Cost cost) const;
    Result<TypeAllocation> solve(const std::vector<Group> & groups, double cost_limit) const;
    Result<TypeAllocation> fastest(const std::vector<Group> & groups, double cost_limit, double damage_limit) const;
    TypeAllocation describe(const Allocation & allocation) const;

    AllocatorOptions options_;
    std::vector<TypeSpeed> speeds_;
    std::map<int32_t, double> ns_per_weight_;
    std::vector<Matrix> matrices_;
    std::vector<Group> choices_;     // cost is not filled in
    std::vector<size_t> n_experts_;  // by layer position
    double n_weights_ = 0;
    double n_read_weights_ = 0;  // times their prices
    double least_bits_ = 0;
    double most_bits_ = 0;
};

}  // namespace edgemoe
