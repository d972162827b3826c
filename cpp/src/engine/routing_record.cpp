#include "engine/routing_record.h"

#include <algorithm>

namespace edgemoe {

std::vector<uint32_t> LayerRouting::counts() const {
    std::vector<uint32_t> counts(static_cast<size_t>(n_experts), 0);
    for (int16_t id : ids) {
        if (id >= 0) {
            counts[static_cast<size_t>(id)]++;
        }
    }
    return counts;
}

std::vector<double> LayerRouting::mass() const {
    std::vector<double> mass(static_cast<size_t>(n_experts), 0.0);
    for (size_t i = 0; i < ids.size(); i++) {
        if (ids[i] >= 0) {
            mass[static_cast<size_t>(ids[i])] += static_cast<double>(weights[i]);
        }
    }
    return mass;
}

std::vector<uint32_t> LayerRouting::co_activation() const {
    return path_counts(*this, *this);
}

std::vector<uint32_t> path_counts(const LayerRouting & a, const LayerRouting & b) {
    std::vector<uint32_t> counts(static_cast<size_t>(a.n_experts) * static_cast<size_t>(b.n_experts), 0);
    const auto n_a = static_cast<size_t>(a.n_used), n_b = static_cast<size_t>(b.n_used);
    for (size_t token = 0; token < std::min(a.n_tokens(), b.n_tokens()); token++) {
        for (size_t i = 0; i < n_a; i++) {
            for (size_t j = 0; j < n_b; j++) {
                const int16_t from = a.ids[token * n_a + i], to = b.ids[token * n_b + j];
                if (from >= 0 && to >= 0) {
                    counts[static_cast<size_t>(from) * static_cast<size_t>(b.n_experts) + static_cast<size_t>(to)]++;
                }
            }
        }
    }
    return counts;
}

}  // namespace edgemoe
