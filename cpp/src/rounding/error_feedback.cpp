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
using Panel = Eigen::Matrix<float, Eigen::Dynamic, kLanes, Eigen::RowMajor>;

// Columns after which errors are passed on to all later ones in one matrix product.
constexpr int64_t kBatch = 32;
constexpr auto kGroup = static_cast<size_t>(FeedbackFactor::kLargestGroup);

// target = weight + carried * F^-1 by substitution, F [group][group] upper triangular.
void set_target(const float * weights, const float * carried, const float * factor, int64_t group, float * target) {
    for (int64_t lane = 0; lane < kLanes; lane += kVector) {
        std::array<FloatVector, kGroup> solved;
        for (int64_t j = 0; j < group; ++j) {
            FloatVector rest = load(carried + j * kLanes + lane);
            for (int64_t i = 0; i < j; ++i) {
                rest -= solved[static_cast<size_t>(i)] * factor[i * group + j];
            }
            solved[static_cast<size_t>(j)] = rest / factor[j * group + j];
            store(target + j * kLanes + lane, load(weights + j * kLanes + lane) + solved[static_cast<size_t>(j)]);
        }
    }
}

}  // namespace

ErrorFeedback::ErrorFeedback(const FeedbackFactor & factor)
    : factor_(factor),
      weights_(static_cast<size_t>(factor.columns() * kLanes)),
      errors_(weights_.size()),
      carried_(weights_.size()) {}

void ErrorFeedback::load_weights(const float * weights, int64_t n_rows) {
    const int64_t n = factor_.columns();
    for (int64_t j = 0; j < n; ++j) {
        const float * from = weights + factor_.order()[static_cast<size_t>(j)];
        float * to = weights_.data() + j * kLanes;
        for (int64_t row = 0; row < n_rows; ++row) {
            to[row] = from[row * n];
        }
        std::fill(to + n_rows, to + kLanes, 0.0F);
    }
}

void ErrorFeedback::choose_group(int64_t first, int64_t batch, BlockChoice * choice) {
    const int64_t n = factor_.columns();
    const int64_t group = choice->group();
    float * carried = carried_.data() + first * kLanes;
    float * errors = errors_.data() + first * kLanes;
    for (int64_t j = 0; j < group; ++j) {
        for (int64_t lane = 0; lane < kLanes; lane += kVector) {
            FloatVector sum = load(carried + j * kLanes + lane);
            for (int64_t k = batch; k < first; ++k) {
                sum += load(errors_.data() + k * kLanes + lane) * factor_.data()[k * n + first + j];
            }
            store(carried + j * kLanes + lane, sum);
        }
    }
    std::array<float, kGroup * kGroup> own;
    for (int64_t i = 0; i < group; ++i) {
        std::copy_n(factor_.data() + (first + i) * n + first, group, own.begin() + i * group);
    }
    std::array<float, kGroup * kLanes> target;
    std::array<float, kGroup * kLanes> levels;
    const float * weights = weights_.data() + first * kLanes;
    set_target(weights, carried, own.data(), group, target.data());
    const int64_t column = factor_.order()[static_cast<size_t>(first)];
    choice->choose(column, target.data(), own.data());
    choice->levels(column, group, levels.data());
    const float * scale = choice->scales().scale(column);
    const float * offset = choice->scales().offset(column);
    for (int64_t i = 0; i < group; ++i) {
        for (int64_t lane = 0; lane < kLanes; ++lane) {
            const int64_t at = i * kLanes + lane;
            errors[at] = weights[at] - (scale[lane] * levels[static_cast<size_t>(at)] + offset[lane]);
        }
    }
}

void ErrorFeedback::run(const float * weights, int64_t n_rows, BlockChoice * choice) {
    const int64_t n = factor_.columns();
    load_weights(weights, n_rows);
    std::fill(carried_.begin(), carried_.end(), 0.0F);
    const Eigen::Map<const Matrix> factor(factor_.data(), n, n);
    const Eigen::Map<const Panel> errors(errors_.data(), n, kLanes);
    Eigen::Map<Panel> carried(carried_.data(), n, kLanes);
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
