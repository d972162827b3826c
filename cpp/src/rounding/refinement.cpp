// Invariants: errors_ is w - q of what is chosen at any moment. Between blocks pulls_ = H errors_. Within a block that
// holds for the block's own columns; changes_ collects what its errors changed by, and the other columns follow in one
// product at its end.
#include "rounding/refinement.h"

#include <Eigen/Cholesky>
#include <Eigen/LU>
#include <algorithm>
#include <array>

#include "rounding/block_choice.h"
#include "rounding/block_scales.h"
#include "rounding/feedback_factor.h"
#include "rounding/lanes.h"

namespace edgemoe {
namespace {

using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using Lanes = Eigen::Array<float, 1, Eigen::Dynamic, Eigen::RowMajor>;

constexpr auto kGroup = static_cast<size_t>(FeedbackFactor::kLargestGroup);

}  // namespace

Refinement::Refinement(const FeedbackFactor & factor, int64_t lanes)
    : factor_(factor),
      lanes_(lanes),
      weights_(static_cast<size_t>(factor.columns() * lanes)),
      errors_(weights_.size()),
      pulls_(weights_.size()),
      changes_(weights_.size()),
      levels_(weights_.size()) {}

// Takes the errors of n columns as they are now, and adds what they changed by to changes_.
void Refinement::set_errors(int64_t column, int64_t n, BlockChoice * choice) {
    float * levels = levels_.data() + column * lanes_;
    choice->levels(column, n, levels);
    for (int64_t i = 0; i < n; ++i) {
        const float * scale = choice->scales().scale(column + i);
        const float * offset = choice->scales().offset(column + i);
        const int64_t at = (column + i) * lanes_;
        for (int64_t lane = 0; lane < lanes_; lane += kVector) {
            const FloatVector error = load(weights_.data() + at + lane) -
                                      (load(scale + lane) * load(levels_.data() + at + lane) + load(offset + lane));
            store(changes_.data() + at + lane,
                  load(changes_.data() + at + lane) + error - load(errors_.data() + at + lane));
            store(errors_.data() + at + lane, error);
        }
    }
}

void Refinement::start(const float * weights, int64_t n_rows, BlockChoice * choice) {
    const int64_t n = factor_.columns();
    for (int64_t j = 0; j < n; ++j) {
        float * to = weights_.data() + j * lanes_;
        for (int64_t row = 0; row < n_rows; ++row) {
            to[row] = weights[row * n + j];
        }
        std::fill(to + n_rows, to + lanes_, 0.0F);
    }
    std::fill(errors_.begin(), errors_.end(), 0.0F);
    set_errors(0, n, choice);
    const Eigen::Map<const Matrix> metric(factor_.metric(), n, n);
    Eigen::Map<Matrix>(pulls_.data(), n, lanes_).noalias() =
        metric * Eigen::Map<const Matrix>(errors_.data(), n, lanes_);

    if (group_ == choice->group()) {
        return;
    }
    group_ = choice->group();
    own_factors_.resize(static_cast<size_t>(n * group_));
    own_inverses_.resize(own_factors_.size());
    for (int64_t first = 0; first < n; first += group_) {
        const Eigen::MatrixXd own = metric.block(first, first, group_, group_).cast<double>();
        const Eigen::MatrixXd lower = own.reverse().eval().llt().matrixL();
        Eigen::Map<Matrix>(own_factors_.data() + first * group_, group_, group_) = lower.reverse().cast<float>();
        Eigen::Map<Matrix>(own_inverses_.data() + first * group_, group_, group_) = own.inverse().cast<float>();
    }
}

// With all else fixed, the error is least where q moves by H_gg^-1 (H e)_g.
void Refinement::choose_group(int64_t column, int64_t block, int64_t n_block, BlockChoice * choice) {
    const int64_t n = factor_.columns();
    const float * inverse = own_inverses_.data() + column * group_;
    std::array<float, kGroup * kMostLanes> target;
    std::array<float, kGroup * kMostLanes> before;
    for (int64_t i = 0; i < group_; ++i) {
        const int64_t at = (column + i) * lanes_;
        for (int64_t lane = 0; lane < lanes_; lane += kVector) {
            FloatVector sum = load(weights_.data() + at + lane) - load(errors_.data() + at + lane);
            for (int64_t j = 0; j < group_; ++j) {
                sum += load(pulls_.data() + (column + j) * lanes_ + lane) * inverse[i * group_ + j];
            }
            store(target.data() + i * lanes_ + lane, sum);
        }
    }
    std::copy_n(errors_.data() + column * lanes_, group_ * lanes_, before.begin());
    choice->choose_again(column, target.data(), own_factors_.data() + column * group_);
    set_errors(column, group_, choice);
    for (int64_t i = 0; i < group_ * lanes_; ++i) {
        before[static_cast<size_t>(i)] =
            errors_[static_cast<size_t>(column * lanes_ + i)] - before[static_cast<size_t>(i)];
    }
    for (int64_t row = block; row < block + n_block; ++row) {
        const float * metric = factor_.metric() + row * n + column;
        float * pull = pulls_.data() + row * lanes_;
        for (int64_t lane = 0; lane < lanes_; lane += kVector) {
            FloatVector sum = load(pull + lane);
            for (int64_t j = 0; j < group_; ++j) {
                sum += load(before.data() + j * lanes_ + lane) * metric[j];
            }
            store(pull + lane, sum);
        }
    }
}

// Along u = levels, the error is least where the scale moves by u (H e) / u H u.
void Refinement::move_scale(int64_t column, int64_t block, int64_t n_block, BlockChoice * choice) {
    const int64_t n = factor_.columns();
    const int64_t width = choice->scales().format().scale_columns;
    const Eigen::Map<const Matrix> metric(factor_.metric(), n, n);
    const Eigen::Map<const Matrix> levels(levels_.data() + column * lanes_, width, lanes_);
    const Eigen::Map<const Matrix> pulls(pulls_.data() + column * lanes_, width, lanes_);
    const Eigen::Map<const Matrix> errors(errors_.data() + column * lanes_, width, lanes_);
    const Matrix product = metric.block(column, column, width, width) * levels;
    const Lanes change =
        (levels.array() * pulls.array()).colwise().sum() / (levels.array() * product.array()).colwise().sum();
    const Matrix before = errors;
    choice->scales().move_scale(column, change.data());
    set_errors(column, width, choice);
    Eigen::Map<Matrix>(pulls_.data() + block * lanes_, n_block, lanes_).noalias() +=
        metric.block(block, column, n_block, width) * (errors - before);
}

// The same with u = 1.
void Refinement::move_offset(int64_t column, int64_t block, int64_t n_block, BlockChoice * choice) {
    const int64_t n = factor_.columns();
    const int64_t width = choice->scales().format().scale_columns;
    const Eigen::Map<const Matrix> metric(factor_.metric(), n, n);
    const Eigen::Map<const Matrix> pulls(pulls_.data() + column * lanes_, width, lanes_);
    const Eigen::Map<const Matrix> errors(errors_.data() + column * lanes_, width, lanes_);
    const Lanes change = pulls.array().colwise().sum() / metric.block(column, column, width, width).sum();
    const Matrix before = errors;
    choice->scales().move_offset(column, change.data());
    set_errors(column, width, choice);
    Eigen::Map<Matrix>(pulls_.data() + block * lanes_, n_block, lanes_).noalias() +=
        metric.block(block, column, n_block, width) * (errors - before);
}

// The same with u = scale * level over the whole block.
void Refinement::move_block_scale(int64_t block, int64_t n_block, BlockChoice * choice) {
    const int64_t n = factor_.columns();
    const Eigen::Map<const Matrix> metric(factor_.metric(), n, n);
    Matrix values = Eigen::Map<const Matrix>(levels_.data() + block * lanes_, n_block, lanes_);
    for (int64_t i = 0; i < n_block; ++i) {
        values.row(i).array() *= Eigen::Map<const Lanes>(choice->scales().scale(block + i), lanes_);
    }
    Eigen::Map<Matrix> pulls(pulls_.data() + block * lanes_, n_block, lanes_);
    const Eigen::Map<const Matrix> errors(errors_.data() + block * lanes_, n_block, lanes_);
    const Matrix product = metric.block(block, block, n_block, n_block) * values;
    const Lanes change =
        (values.array() * pulls.array()).colwise().sum() / (values.array() * product.array()).colwise().sum();
    const Matrix before = errors;
    choice->scales().move_block(block, change.data());
    set_errors(block, n_block, choice);
    pulls.noalias() += metric.block(block, block, n_block, n_block) * (errors - before);
}

void Refinement::sweep_block(int64_t block, int64_t n_block, BlockChoice * choice) {
    const ScaleFormat & format = choice->scales().format();
    for (int64_t first = block; first < block + n_block; first += format.scale_columns) {
        for (int64_t column = first; column < first + format.scale_columns; column += group_) {
            choose_group(column, block, n_block, choice);
        }
        if (format.has_codes()) {
            move_scale(first, block, n_block, choice);
        }
        if (format.has_minima()) {
            move_offset(first, block, n_block, choice);
        }
    }
    move_block_scale(block, n_block, choice);
}

void Refinement::run(const float * weights, int64_t n_rows, int n_sweeps, BlockChoice * choice) {
    const int64_t n = factor_.columns();
    const int64_t width = choice->scales().format().block_columns;
    const Eigen::Map<const Matrix> metric(factor_.metric(), n, n);
    const Eigen::Map<const Matrix> changes(changes_.data(), n, lanes_);
    Eigen::Map<Matrix> pulls(pulls_.data(), n, lanes_);
    start(weights, n_rows, choice);
    for (int sweep = 0; sweep < n_sweeps; ++sweep) {
        for (int64_t block = 0; block < n; block += width) {
            std::fill_n(changes_.data() + block * lanes_, width * lanes_, 0.0F);
            sweep_block(block, width, choice);
            const int64_t end = block + width;
            pulls.topRows(block).noalias() += metric.block(0, block, block, width) * changes.middleRows(block, width);
            pulls.bottomRows(n - end).noalias() +=
                metric.block(end, block, n - end, width) * changes.middleRows(block, width);
        }
    }
}

}  // namespace edgemoe
