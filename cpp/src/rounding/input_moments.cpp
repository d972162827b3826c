#include "rounding/input_moments.h"

#include <Eigen/Core>
#include <algorithm>
#include <cassert>
#include <cmath>

#include "rounding/parallel.h"

namespace edgemoe {
namespace {

using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

// Tiles of the moments are what threads share, so each element is summed by one thread in the tokens' order.
constexpr int64_t kTileColumns = 256;
constexpr int64_t kChunkTokens = 512;

}  // namespace

InputMoments::InputMoments(int64_t columns)
    : columns_(columns), moments_(static_cast<size_t>(columns * columns), 0.0F) {}

void InputMoments::add(const float * inputs, const float * weights, int64_t n, int n_threads) {
    const int64_t n_tiles = (columns_ + kTileColumns - 1) / kTileColumns;
    Eigen::Map<Matrix> moments(moments_.data(), columns_, columns_);
    Matrix scaled(std::min(n, kChunkTokens), columns_);
    for (int64_t first = 0; first < n; first += kChunkTokens) {
        const int64_t n_chunk = std::min(kChunkTokens, n - first);
        parallel_for(n_chunk, n_threads, [&](int64_t i) {
            assert(weights[first + i] >= 0.0F);
            const Eigen::Map<const Eigen::RowVectorXf> input(inputs + (first + i) * columns_, columns_);
            scaled.row(i) = std::sqrt(weights[first + i]) * input;
        });
        parallel_for(n_tiles * (n_tiles + 1) / 2, n_threads, [&](int64_t tile) {
            int64_t row = 0;
            while ((row + 1) * (row + 2) / 2 <= tile) {
                ++row;
            }
            const int64_t i = row * kTileColumns;
            const int64_t j = (tile - row * (row + 1) / 2) * kTileColumns;
            const int64_t height = std::min(kTileColumns, columns_ - i);
            const int64_t width = std::min(kTileColumns, columns_ - j);
            auto block = moments.block(i, j, height, width);
            block.noalias() += scaled.block(0, i, n_chunk, height).transpose() * scaled.block(0, j, n_chunk, width);
            if (i != j) {
                moments.block(j, i, width, height) = block.transpose();
            }
        });
    }
    for (int64_t i = 0; i < n; ++i) {
        total_weight_ += static_cast<double>(weights[i]);
    }
    n_tokens_ += n;
}

void InputMoments::blend(const InputMoments & other, double share) {
    assert(other.columns_ == columns_ && share >= 0.0);
    const auto n = static_cast<Eigen::Index>(moments_.size());
    Eigen::Map<Eigen::ArrayXf>(moments_.data(), n) +=
        static_cast<float>(share) * Eigen::Map<const Eigen::ArrayXf>(other.moments_.data(), n);
    total_weight_ += share * other.total_weight_;
}

std::vector<float> InputMoments::diagonal() const {
    std::vector<float> diagonal(static_cast<size_t>(columns_));
    for (int64_t i = 0; i < columns_; ++i) {
        diagonal[static_cast<size_t>(i)] = moments_[static_cast<size_t>(i * columns_ + i)];
    }
    return diagonal;
}

}  // namespace edgemoe
