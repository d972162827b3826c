#include "engine/type_allocator.h"

#include "base/checked.h"
#include "engine/kernel_time.h"
#include "engine/packed_format.h"

#include "ggml.h"

#include <algorithm>
#include <cmath>

namespace edgemoe {

namespace {

constexpr int kSpeedSteps = 24;

double padded(uint64_t bytes) {
    return static_cast<double>(align_up(bytes, kPackedAlignment));
}

}  // namespace

Result<TypeAllocator> TypeAllocator::create(const GgufSource & source, const Profile & profile,
                                            const SensitivityTable & table, const AllocatorOptions & options) {
    TypeAllocator allocator;
    allocator.options_ = options;
    const ExpertIndex & index = source.experts();
    for (const int32_t type : options.ladder) {
        const ExpertParts & parts = index.layers().front().experts.front();
        TypeSpeed speed{type, 0, 0};
        bool fits = false;
        for (const ExpertPart & part : parts) {
            const auto kind = static_cast<ggml_type>(type);
            if (part.present && part.columns % ggml_blck_size(kind) == 0) {
                fits = true;
                speed.bits =
                    8.0 * static_cast<double>(ggml_row_size(kind, part.columns)) / static_cast<double>(part.columns);
                const Result<double> ns = kernel_ns_per_weight(type, part.columns, part.rows);
                if (ns.is_ok()) {
                    speed.ns_per_weight = std::max(speed.ns_per_weight, ns.value());
                }
            }
        }
        if (fits && speed.ns_per_weight > 0) {
            allocator.speeds_.push_back(speed);
            allocator.ns_per_weight_[type] = speed.ns_per_weight;
        }
    }
    if (allocator.speeds_.empty()) {
        return Status(StatusCode::kInvalidArgument,
                      source.path() + ": no type of the ladder fits the experts' rows; give others");
    }
    const ReadPrices uses = uncached_prices(profile, index);
    for (size_t layer = 0; layer < index.layers().size(); layer++) {
        const ExpertLayer & experts = index.layers()[layer];
        const LayerProfile * layer_profile = profile.find(experts.layer);
        allocator.n_experts_.push_back(experts.experts.size());
        const std::vector<float> * damage = nullptr;
        if (layer_profile != nullptr && layer_profile->evaluated) {
            damage = &table.damage[static_cast<size_t>(layer_profile - profile.layers.data())];
        }
        for (size_t expert = 0; expert < experts.experts.size(); expert++) {
            for (size_t p = 0; p < kProjectionCount; p++) {
                const ExpertPart & part = experts.experts[expert][p];
                if (!part.present) {
                    continue;
                }
                Matrix matrix;
                matrix.layer = layer;
                matrix.id = {experts.layer, static_cast<int32_t>(expert)};
                matrix.projection = p;
                matrix.weights = static_cast<double>(part.rows * part.columns);
                matrix.frequency = uses[layer][expert];
                allocator.add_matrix(matrix, part, layer_profile, damage, table, options.ladder);
            }
        }
    }
    return allocator.with_read_prices(uses);
}

TypeAllocator TypeAllocator::with_read_prices(const ReadPrices & prices) const {
    TypeAllocator priced = *this;
    priced.n_read_weights_ = 0;
    for (Matrix & matrix : priced.matrices_) {
        matrix.read_price = prices[matrix.layer][static_cast<size_t>(matrix.id.expert)];
        priced.n_read_weights_ += matrix.weights * matrix.read_price;
    }
    return priced;
}

void TypeAllocator::add_matrix(const Matrix & matrix, const ExpertPart & part, const LayerProfile * profile,
                               const std::vector<float> * damage, const SensitivityTable & table,
                               const std::vector<int32_t> & ladder) {
    Group group;
    for (const int32_t type : ladder) {
        const auto kind = static_cast<ggml_type>(type);
        if (ns_per_weight_.count(type) == 0 || part.columns % ggml_blck_size(kind) != 0) {
            continue;
        }
        const uint64_t bytes = ggml_row_size(kind, part.columns) * static_cast<uint64_t>(part.rows);
        const auto column = std::find(table.types.begin(), table.types.end(), type);
        if (bytes >= part.bytes || column == table.types.end()) {
            continue;
        }
        double cost = 0;  // of a layer that the model's graph does not use
        if (damage != nullptr && profile != nullptr) {
            const size_t cell =
                (static_cast<size_t>(matrix.id.expert) * kProjectionCount + matrix.projection) * table.types.size() +
                static_cast<size_t>(column - table.types.begin());
            cost = static_cast<double>((*damage)[cell]);
        }
        if (std::isfinite(cost)) {
            group.choices.push_back({type, bytes, 0, std::max(0.0, cost)});
        }
    }
    if (damage == nullptr && !group.choices.empty()) {
        // Nothing is known about it, so it gets the most that the ladder has.
        group.choices = {*std::max_element(group.choices.begin(), group.choices.end(),
                                           [](const Choice & a, const Choice & b) { return a.bytes < b.bytes; })};
    }
    // As it is, where nothing larger could be had or the ladder says so.
    if (group.choices.empty() || (damage != nullptr && (ggml_is_quantized(static_cast<ggml_type>(part.type)) ||
                                                        std::count(ladder.begin(), ladder.end(), part.type) > 0))) {
        group.choices.push_back({part.type, part.bytes, 0, 0});
    }
    const auto by_bytes = [](const Choice & a, const Choice & b) { return a.bytes < b.bytes; };
    const auto ends = std::minmax_element(group.choices.begin(), group.choices.end(), by_bytes);
    const double before = n_weights_;
    n_weights_ += matrix.weights;
    least_bits_ = (least_bits_ * before + 8.0 * static_cast<double>(ends.first->bytes)) / n_weights_;
    most_bits_ = (most_bits_ * before + 8.0 * static_cast<double>(ends.second->bytes)) / n_weights_;
    matrices_.push_back(matrix);
    choices_.push_back(std::move(group));
}

std::vector<Group> TypeAllocator::groups(Cost cost) const {
    std::vector<Group> groups = choices_;
    for (size_t i = 0; i < groups.size(); i++) {
        for (Choice & choice : groups[i].choices) {
            choice.cost = cost == Cost::kBytes ? static_cast<double>(choice.bytes) : padded(choice.bytes);
            if (cost == Cost::kReadBytes) {
                choice.cost *= matrices_[i].read_price;
            }
        }
    }
    return groups;
}

Result<TypeAllocation> TypeAllocator::for_divergence(double kl_divergence) const {
    const std::vector<Group> all =
        groups(options_.objective == PackObjective::kReadBytes ? Cost::kReadBytes : Cost::kPaddedBytes);
    const double limit = options_.prefer_speed ? kl_divergence / (1 + AllocatorOptions::kSpeedDamage) : kl_divergence;
    const Result<Allocation> found = least_cost(all, limit);
    if (!found.is_ok()) {
        return found.status();
    }
    return options_.prefer_speed ? fastest(all, found.value().cost, kl_divergence)
                                 : Result<TypeAllocation>(describe(found.value()));
}

Result<TypeAllocation> TypeAllocator::for_bits(double bits) const {
    return options_.objective == PackObjective::kReadBytes ? solve(groups(Cost::kReadBytes), bits / 8 * n_read_weights_)
                                                           : solve(groups(Cost::kBytes), bits / 8 * n_weights_);
}

Result<TypeAllocation> TypeAllocator::for_padded_bytes(uint64_t bytes) const {
    return solve(groups(Cost::kPaddedBytes), static_cast<double>(bytes));
}

Result<TypeAllocation> TypeAllocator::solve(const std::vector<Group> & groups, double cost_limit) const {
    const Result<Allocation> found = least_damage(groups, cost_limit);
    if (!found.is_ok()) {
        return found.status();
    }
    return options_.prefer_speed
               ? fastest(groups, cost_limit, found.value().damage * (1 + AllocatorOptions::kSpeedDamage))
               : Result<TypeAllocation>(describe(found.value()));
}

// Time is added to the damage at a price; the highest price whose solution does at most `damage_limit` is found by
// bisection.
Result<TypeAllocation> TypeAllocator::fastest(const std::vector<Group> & groups, double cost_limit,
                                              double damage_limit) const {
    Result<Allocation> best = least_damage(groups, cost_limit);
    if (!best.is_ok()) {
        return best.status();
    }
    const double gap = best.value().gap;
    double low = 0;
    double high = -1;  // none yet
    double price = std::max(damage_limit, 1e-12) / std::max(1e-12, describe(best.value()).kernel_ms_per_token);
    std::vector<Group> priced = groups;
    for (int step = 0; step < kSpeedSteps; step++) {
        for (size_t i = 0; i < groups.size(); i++) {
            for (size_t k = 0; k < groups[i].choices.size(); k++) {
                const Choice & choice = groups[i].choices[k];
                const auto ns = ns_per_weight_.find(choice.type);
                const double ms =
                    ns == ns_per_weight_.end() ? 0 : ns->second * matrices_[i].weights * matrices_[i].frequency * 1e-6;
                priced[i].choices[k].damage = choice.damage + price * ms;
            }
        }
        Result<Allocation> found = least_damage(priced, cost_limit);
        if (!found.is_ok()) {
            return found.status();
        }
        double damage = 0;
        for (size_t i = 0; i < groups.size(); i++) {
            damage += groups[i].choices[found.value().chosen[i]].damage;
        }
        if (damage <= damage_limit) {
            low = price;
            best = std::move(found);
        } else {
            high = price;
        }
        price = high < 0 ? price * 4 : (low + high) / 2;
    }
    TypeAllocation allocation = describe(best.value());
    allocation.gap = gap;
    return allocation;
}

TypeAllocation TypeAllocator::describe(const Allocation & allocation) const {
    TypeAllocation described;
    for (const size_t n : n_experts_) {
        described.types.emplace_back(n);
        for (ExpertTypes & types : described.types.back()) {
            types.fill(kNoType);
        }
    }
    described.gap = allocation.gap;
    for (size_t i = 0; i < matrices_.size(); i++) {
        const Matrix & matrix = matrices_[i];
        const Choice & choice = choices_[i].choices[allocation.chosen[i]];
        described.types[matrix.layer][static_cast<size_t>(matrix.id.expert)][matrix.projection] = choice.type;
        described.kl_divergence += choice.damage;
        described.expert_bytes += choice.bytes;
        described.padded_bytes += static_cast<uint64_t>(padded(choice.bytes));
        described.read_bytes_per_token += padded(choice.bytes) * matrix.frequency;
        described.cost +=
            padded(choice.bytes) * (options_.objective == PackObjective::kReadBytes ? matrix.read_price : 1);
        const auto ns = ns_per_weight_.find(choice.type);
        if (ns != ns_per_weight_.end()) {
            described.kernel_ms_per_token += ns->second * matrix.weights * matrix.frequency * 1e-6;
        }
    }
    described.bits = 8.0 * static_cast<double>(described.expert_bytes) / std::max(1.0, n_weights_);
    return described;
}

}  // namespace edgemoe
