// Invariants, for a column j in the factor's order: carried_[j] = sum of errors_[k] R_kj over all columns k of finished
// batches, and, while its own batch is worked on, over the columns of that batch chosen before it. The weights of a
// column do not change; its target is the weight plus what is carried, brought back through the group's part of R.
#include "rounding/error_feedback.h"

#include <Eigen/Core>
#include <algorithm>
#include <array>

#include "rounding/block_choice.h"
#include "rounding/block_scales.h"
#include "rounding/feedback_factor.h"
#include "rounding/lanes.h"

namespace edgemoe {
namespace {

using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

// Columns after which errors are passed on to all later ones in one matrix product.
constexpr int64_t kBatch = 32;
constexpr auto kGroup = static_cast<size_t>(FeedbackFactor::kLargestGroup);

// target = weight + carried * F^-1 by substitution, F [group][group] upper triangular.
void set_target(const float * weights, const float * carried, const float * factor, int64_t group, int64_t lanes,
                float * target) {
    for (int64_t lane = 0; lane < lanes; lane += kVector) {
        std::array<FloatVector, kGroup> solved;
        for (int64_t j = 0; j < group; ++j) {
            FloatVector rest = load(carried + j * lanes + lane);
            for (int64_t i = 0; i < j; ++i) {
                rest -= solved[static_cast<size_t>(i)] * factor[i * group + j];
            }
            solved[static_cast<size_t>(j)] = rest / factor[j * group + j];
            store(target + j * lanes + lane, load(weights + j * lanes + lane) + solved[static_cast<size_t>(j)]);
        }
    }
}

}  // namespace

ErrorFeedback::ErrorFeedback(const FeedbackFactor & factor, int64_t lanes)
    : factor_(factor),
      lanes_(lanes),
      weights_(static_cast<size_t>(factor.columns() * lanes)),
      errors_(weights_.size()),
      carried_(weights_.size()) {}

void ErrorFeedback::load_weights(const float * weights, int64_t n_rows) {
    const int64_t n = factor_.columns();
    for (int64_t j = 0; j < n; ++j) {
        const float * from = weights + factor_.order()[static_cast<size_t>(j)];
        float * to = weights_.data() + j * lanes_;
        for (int64_t row = 0; row < n_rows; ++row) {
            to[row] = from[row * n];
        }
        std::fill(to + n_rows, to + lanes_, 0.0F);
    }
}

void ErrorFeedback::choose_group(int64_t first, int64_t batch, BlockChoice * choice) {
    const int64_t n = factor_.columns();
    const int64_t group = choice->group();
    float * carried = carried_.data() + first * lanes_;
    float * errors = errors_.data() + first * lanes_;
    for (int64_t j = 0; j < group; ++j) {
        for (int64_t lane = 0; lane < lanes_; lane += kVector) {
            FloatVector sum = load(carried + j * lanes_ + lane);
            for (int64_t k = batch; k < first; ++k) {
                sum += load(errors_.data() + k * lanes_ + lane) * factor_.data()[k * n + first + j];
            }
            store(carried + j * lanes_ + lane, sum);
        }
    }
    std::array<float, kGroup * kGroup> own;
    for (int64_t i = 0; i < group; ++i) {
        std::copy_n(factor_.data() + (first + i) * n + first, group, own.begin() + i * group);
    }
    std::array<float, kGroup * kMostLanes> target;
    std::array<float, kGroup * kMostLanes> levels;
    const float * weights = weights_.data() + first * lanes_;
    set_target(weights, carried, own.data(), group, lanes_, target.data());
    const int64_t column = factor_.order()[static_cast<size_t>(first)];
    choice->choose(column, target.data(), own.data());
    choice->levels(column, group, levels.data());
    const float * scale = choice->scales().scale(column);
    const float * offset = choice->scales().offset(column);
    for (int64_t i = 0; i < group; ++i) {
        for (int64_t lane = 0; lane < lanes_; ++lane) {
            const int64_t at = i * lanes_ + lane;
            errors[at] = weights[at] - (scale[lane] * levels[static_cast<size_t>(at)] + offset[lane]);
        }
    }
}

void ErrorFeedback::run(const float * weights, int64_t n_rows, BlockChoice * choice) {
    const int64_t n = factor_.columns();
    load_weights(weights, n_rows);
    std::fill(carried_.begin(), carried_.end(), 0.0F);
    const Eigen::Map<const Matrix> factor(factor_.data(), n, n);
    const Eigen::Map<const Matrix> errors(errors_.data(), n, lanes_);
    Eigen::Map<Matrix> carried(carried_.data(), n, lanes_);
    for (int64_t batch = 0; batch < n; batch += kBatch) {
        const int64_t end = std::min(batch + kBatch, n);
        for (int64_t first = batch; first < end; first += choice->group()) {
            choose_group(first, batch, choice);
        }
        carried.bottomRows(n - end).noalias() +=
            factor.block(batch, end, end - batch, n - end).transpose() * errors.middleRows(batch, end - batch);
    }
}

}  // namespace edgemoe
