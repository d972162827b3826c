// Invariants: layers_ is sorted by layer number, which is unique; layer_position_[l] is l's place in it, or -1. The
// figures are sums of sizes that come from files, so they stop at the largest number instead of wrapping.
#include "storage/expert_index.h"

#include "base/checked.h"

#include <algorithm>
#include <cassert>
#include <cstddef>
#include <functional>
#include <limits>
#include <utility>

namespace edgemoe {
namespace {

uint64_t saturating_add(uint64_t a, uint64_t b) {
    uint64_t sum = 0;
    return checked_add(a, b, &sum) ? sum : std::numeric_limits<uint64_t>::max();
}

uint64_t bytes_of(const ExpertParts & parts) {
    uint64_t bytes = 0;
    for (const ExpertPart & part : parts) {
        if (part.present) {
            bytes = saturating_add(bytes, part.bytes);
        }
    }
    return bytes;
}

// The sum of the `n_largest` largest of `sizes`, or of all when there are fewer. Reorders `sizes`.
uint64_t sum_of_largest(std::vector<uint64_t> * sizes, int32_t n_largest) {
    const size_t n = std::min(static_cast<size_t>(std::max(n_largest, 0)), sizes->size());
    const auto end = sizes->begin() + static_cast<std::ptrdiff_t>(n);
    std::partial_sort(sizes->begin(), end, sizes->end(), std::greater<>());
    uint64_t sum = 0;
    for (auto size = sizes->begin(); size != end; ++size) {
        sum = saturating_add(sum, *size);
    }
    return sum;
}

}  // namespace

ExpertIndex::ExpertIndex(std::vector<std::shared_ptr<const File>> files, std::vector<ExpertLayer> layers,
                         int32_t n_experts_used)
    : files_(std::move(files)), layers_(std::move(layers)), n_experts_used_(n_experts_used) {
    std::sort(layers_.begin(), layers_.end(),
              [](const ExpertLayer & a, const ExpertLayer & b) { return a.layer < b.layer; });
    for (size_t position = 0; position < layers_.size(); ++position) {
        const ExpertLayer & layer = layers_[position];
        assert(layer.layer >= 0 && "layer numbers count from 0");
        const auto number = static_cast<size_t>(layer.layer);
        assert(number >= layer_position_.size() && "layer numbers are unique");
        layer_position_.resize(number + 1, -1);
        layer_position_[number] = static_cast<int32_t>(position);

        std::vector<uint64_t> sizes;
        sizes.reserve(layer.experts.size());
        for (const ExpertParts & parts : layer.experts) {
            for (const ExpertPart & part : parts) {
                if (part.present) {
                    largest_part_bytes_ = std::max(largest_part_bytes_, part.bytes);
                }
            }
            sizes.push_back(bytes_of(parts));
            largest_expert_bytes_ = std::max(largest_expert_bytes_, sizes.back());
            total_bytes_ = saturating_add(total_bytes_, sizes.back());
        }
        n_experts_ += layer.experts.size();
        const uint64_t working_set_bytes = sum_of_largest(&sizes, n_experts_used_);
        layer_working_set_bytes_ = std::max(layer_working_set_bytes_, working_set_bytes);
        token_working_set_bytes_ = saturating_add(token_working_set_bytes_, working_set_bytes);
    }
}

const ExpertParts & ExpertIndex::parts(ExpertId id) const {
    const ExpertParts * found = find(id);
    assert(found != nullptr && "the expert exists");
    return *found;
}

const ExpertParts * ExpertIndex::find(ExpertId id) const {
    if (id.layer < 0 || static_cast<size_t>(id.layer) >= layer_position_.size()) {
        return nullptr;
    }
    const int32_t position = layer_position_[static_cast<size_t>(id.layer)];
    if (position < 0) {
        return nullptr;
    }
    const std::vector<ExpertParts> & experts = layers_[static_cast<size_t>(position)].experts;
    if (id.expert < 0 || static_cast<size_t>(id.expert) >= experts.size()) {
        return nullptr;
    }
    return &experts[static_cast<size_t>(id.expert)];
}

uint64_t ExpertIndex::expert_bytes(ExpertId id) const {
    return bytes_of(parts(id));
}

}  // namespace edgemoe
