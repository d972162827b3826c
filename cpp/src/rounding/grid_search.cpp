#include "rounding/grid_search.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <limits>

#include "rounding/lanes.h"

namespace edgemoe {
namespace {

// Grid vectors and vectors of lanes that are worked on together, so that their costs stay in registers.
constexpr int64_t kTile = 4;
constexpr int64_t kMostFeatures = GridSearch::kMostColumns * (GridSearch::kMostColumns + 1) / 2;

}  // namespace

GridSearch::GridSearch(const uint8_t * vectors, int32_t n_vectors, int64_t columns, int64_t lanes)
    : lanes_(lanes),
      n_vectors_(n_vectors),
      columns_(columns),
      n_features_(columns * (columns + 1) / 2),
      vectors_(vectors, vectors + n_vectors * columns),
      features_(static_cast<size_t>(n_vectors * n_features_)),
      squares_(static_cast<size_t>(n_vectors * columns)),
      base_cost_(static_cast<size_t>(n_vectors)) {
    assert(n_vectors % kTile == 0 && columns <= kMostColumns);
    for (int64_t v = 0; v < n_vectors_; ++v) {
        const float * vector = vectors_.data() + v * columns_;
        float * feature = features_.data() + v / kTile * n_features_ * kTile + v % kTile;
        for (int64_t i = 0; i < columns_; ++i) {
            squares_[static_cast<size_t>(i * n_vectors_ + v)] = vector[i] * vector[i];
            for (int64_t j = i + 1; j < columns_; ++j, feature += kTile) {
                *feature = vector[i] * vector[j];
            }
        }
        for (int64_t i = 0; i < columns_; ++i, feature += kTile) {
            *feature = vector[i];
        }
    }
}

void GridSearch::find(const float * metric, int64_t metric_stride, const float * signs, const float * pull,
                      uint16_t * indices, float * magnitudes) {
    std::fill(base_cost_.begin(), base_cost_.end(), 0.0F);
    for (int64_t i = 0; i < columns_; ++i) {
        const float * square = squares_.data() + i * n_vectors_;
        const float weight = metric[i * metric_stride + i];
        for (int64_t v = 0; v < n_vectors_; ++v) {
            base_cost_[static_cast<size_t>(v)] += weight * square[v];
        }
    }
    for (int64_t lane = 0; lane < lanes_; lane += kVector) {
        std::array<FloatVector, kMostFeatures> weights;
        size_t f = 0;
        for (int64_t i = 0; i < columns_; ++i) {
            const FloatVector sign = load(signs + i * lanes_ + lane);
            for (int64_t j = i + 1; j < columns_; ++j) {
                weights[f++] = sign * load(signs + j * lanes_ + lane) * (2.0F * metric[i * metric_stride + j]);
            }
        }
        for (int64_t i = 0; i < columns_; ++i) {
            weights[f++] = load(signs + i * lanes_ + lane) * load(pull + i * lanes_ + lane) * -2.0F;
        }
        FloatVector least_cost = splat(std::numeric_limits<float>::max());
        IntVector best{};
        const float * feature = features_.data();
        for (int64_t v = 0; v < n_vectors_; v += kTile) {
            FloatVector cost0 = splat(base_cost_[static_cast<size_t>(v)]);
            FloatVector cost1 = splat(base_cost_[static_cast<size_t>(v + 1)]);
            FloatVector cost2 = splat(base_cost_[static_cast<size_t>(v + 2)]);
            FloatVector cost3 = splat(base_cost_[static_cast<size_t>(v + 3)]);
            for (int64_t k = 0; k < n_features_; ++k, feature += kTile) {
                const FloatVector & weight = weights[static_cast<size_t>(k)];
                cost0 += weight * feature[0];
                cost1 += weight * feature[1];
                cost2 += weight * feature[2];
                cost3 += weight * feature[3];
            }
            const auto take = [&](const FloatVector & cost, int64_t index) {
                const IntVector better = cost < least_cost;
                least_cost = better ? cost : least_cost;
                best = better ? static_cast<int32_t>(index) - IntVector{} : best;
            };
            take(cost0, v);
            take(cost1, v + 1);
            take(cost2, v + 2);
            take(cost3, v + 3);
        }
        for (int64_t l = 0; l < kVector; ++l) {
            const int32_t index = best[l];
            indices[lane + l] = static_cast<uint16_t>(index);
            for (int64_t i = 0; i < columns_; ++i) {
                magnitudes[i * lanes_ + lane + l] = vectors_[static_cast<size_t>(index * columns_ + i)];
            }
        }
    }
}

}  // namespace edgemoe
