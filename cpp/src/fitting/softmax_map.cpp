#include "fitting/softmax_map.h"

#include <Eigen/Core>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

namespace edgemoe {

namespace {

using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using MatrixRef = Eigen::Map<Matrix>;
using ConstMatrixRef = Eigen::Map<const Matrix>;

constexpr int64_t kScaleTokens = 4096;  // that columns are scaled by
constexpr float kLeastRms = 1e-6F;
constexpr float kFirstDecay = 0.9F, kSecondDecay = 0.999F, kEpsilon = 1e-8F;  // Adam's

// In place; each row by itself.
void softmax_rows(Matrix * logits) {
    logits->colwise() -= logits->rowwise().maxCoeff().eval();
    *logits = logits->array().exp().matrix();
    const Eigen::VectorXf sums = logits->rowwise().sum();
    logits->array().colwise() /= sums.array();
}

// Root mean square of each column.
Eigen::RowVectorXf column_rms(const SoftmaxMapData & data, const std::vector<int32_t> & order, Matrix * inputs,
                              Matrix * targets) {
    Eigen::RowVectorXd sums = Eigen::RowVectorXd::Zero(data.n_columns);
    const int64_t n = std::min<int64_t>(kScaleTokens, data.n_tokens);
    for (int64_t first = 0; first < n; first += inputs->rows()) {
        const int64_t n_batch = std::min<int64_t>(inputs->rows(), n - first);
        data.fill(order.data() + first, n_batch, inputs->data(), targets->data());
        sums += inputs->topRows(n_batch).colwise().squaredNorm().cast<double>();
    }
    return (sums / static_cast<double>(std::max<int64_t>(1, n))).cwiseSqrt().cast<float>();
}

}  // namespace

Status fit_softmax_map(const SoftmaxMapData & data, const SoftmaxMapOptions & options, std::vector<float> * weights,
                       const std::function<bool(double)> & goes_on) {
    std::vector<int32_t> order(static_cast<size_t>(data.n_tokens));
    std::iota(order.begin(), order.end(), 0);
    std::mt19937 random(options.seed);
    std::shuffle(order.begin(), order.end(), random);
    const int64_t batch = std::min<int64_t>(options.batch_tokens, data.n_tokens);
    if (batch == 0) {
        return Status::ok();
    }
    Matrix inputs(batch, data.n_columns), targets(batch, data.n_rows);
    Eigen::RowVectorXf scales = column_rms(data, order, &inputs, &targets);
    // A column that is always 0 keeps its weights.
    scales = (scales.array() < kLeastRms).select(1.0F, scales);
    const Eigen::RowVectorXf inverse = scales.cwiseInverse();
    // A copy, as Eigen places it: which of its kernels run depends on that, and with them the last bits.
    Matrix w = ConstMatrixRef(weights->data(), data.n_rows, data.n_columns);
    w.array().rowwise() *= scales.array();
    Matrix first = Matrix::Zero(data.n_rows, data.n_columns), second = first, gradient(data.n_rows, data.n_columns);
    Matrix error(batch, data.n_rows);
    const int64_t steps_per_pass = data.n_tokens / batch;
    const int64_t n_steps = steps_per_pass * options.n_passes;
    double first_power = 1, second_power = 1;
    for (int64_t step = 0; step < n_steps; step++) {
        if (step % steps_per_pass == 0 && step > 0) {
            std::shuffle(order.begin(), order.end(), random);
        }
        data.fill(order.data() + (step % steps_per_pass) * batch, batch, inputs.data(), targets.data());
        inputs.array().rowwise() *= inverse.array();
        error.noalias() = inputs * w.transpose();
        softmax_rows(&error);
        error -= targets;
        error.array().colwise() *= (targets.rowwise().sum().array() > 0.5F).cast<float>() / static_cast<float>(batch);
        gradient.noalias() = error.transpose() * inputs;
        first_power *= static_cast<double>(kFirstDecay);
        second_power *= static_cast<double>(kSecondDecay);
        const double share = static_cast<double>(step) / static_cast<double>(n_steps);
        const double rate = static_cast<double>(options.learning_rate) * 0.5 * (1 + std::cos(M_PI * share)) *
                            std::sqrt(1 - second_power) / (1 - first_power);
        first = kFirstDecay * first + (1 - kFirstDecay) * gradient;
        second = kSecondDecay * second + (1 - kSecondDecay) * gradient.cwiseAbs2();
        w.array() -= static_cast<float>(rate) * first.array() / (second.array().sqrt() + kEpsilon);
        if (goes_on && !goes_on(static_cast<double>(step + 1) / static_cast<double>(n_steps))) {
            return Status(StatusCode::kCancelled, "cancelled");
        }
    }
    w.array().rowwise() *= inverse.array();
    MatrixRef(weights->data(), data.n_rows, data.n_columns) = w;
    return Status::ok();
}

void apply_map(const float * inputs, const float * weights, int64_t n, int64_t n_columns, int64_t n_rows,
               float * outputs) {
    MatrixRef(outputs, n, n_rows).noalias() =
        ConstMatrixRef(inputs, n, n_columns) * ConstMatrixRef(weights, n_rows, n_columns).transpose();
}

}  // namespace edgemoe
