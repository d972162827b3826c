#include "rounding/feedback_factor.h"

#include <Eigen/Cholesky>
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>

#include "rounding/finite.h"
#include "rounding/input_moments.h"

namespace edgemoe {
namespace {

using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

constexpr double kLeastRaisedDamping = 1e-6;
constexpr double kMostDamping = 1e3;

std::vector<int32_t> falling_order(const std::vector<float> & diagonal, int64_t group) {
    const int64_t n_groups = static_cast<int64_t>(diagonal.size()) / group;
    std::vector<double> sums(static_cast<size_t>(n_groups));
    for (int64_t g = 0; g < n_groups; ++g) {
        sums[static_cast<size_t>(g)] =
            std::accumulate(diagonal.begin() + g * group, diagonal.begin() + (g + 1) * group, 0.0);
    }
    std::vector<int32_t> groups(static_cast<size_t>(n_groups));
    std::iota(groups.begin(), groups.end(), 0);
    std::stable_sort(groups.begin(), groups.end(),
                     [&](int32_t a, int32_t b) { return sums[static_cast<size_t>(a)] > sums[static_cast<size_t>(b)]; });
    std::vector<int32_t> order;
    order.reserve(diagonal.size());
    for (const int32_t g : groups) {
        for (int64_t i = 0; i < group; ++i) {
            order.push_back(static_cast<int32_t>(g * group + i));
        }
    }
    return order;
}

// H with rows and columns in reversed order: its lower factor L, reversed again, is the upper R of H = R R^T.
void fill_reversed(const InputMoments & moments, const std::vector<int32_t> & order, float added, Matrix * reversed) {
    const int64_t n = moments.columns();
    for (int64_t i = 0; i < n; ++i) {
        const float * row = moments.data() + order[static_cast<size_t>(n - 1 - i)] * n;
        float * to = reversed->data() + i * n;
        for (int64_t j = 0; j < i; ++j) {
            to[j] = row[order[static_cast<size_t>(n - 1 - j)]];
        }
        to[i] = row[order[static_cast<size_t>(n - 1 - i)]] + added;
    }
}

}  // namespace

Result<FeedbackFactor> FeedbackFactor::make(const InputMoments & moments, double damping, int64_t group) {
    const int64_t n = moments.columns();
    if ((group != 1 && group != 4 && group != 8) || n % group != 0 || n > std::numeric_limits<int32_t>::max()) {
        return Status(StatusCode::kInvalidArgument, "error feedback: " + std::to_string(n) +
                                                        " columns cannot be ordered in groups of " +
                                                        std::to_string(group));
    }
    if (!(damping >= 0.0) || damping > kMostDamping) {
        return Status(StatusCode::kInvalidArgument,
                      "error feedback: damping " + std::to_string(damping) + " is not in [0, 1000]");
    }
    const std::vector<float> diagonal = moments.diagonal();
    if (!all_within(moments.data(), n * n, std::numeric_limits<float>::max()) ||
        std::any_of(diagonal.begin(), diagonal.end(), [](float value) { return value < 0.0F; })) {
        return Status(StatusCode::kInvalidArgument,
                      "error feedback: the input moments are not those of any inputs (a value is not finite, or a "
                      "square is negative)");
    }

    FeedbackFactor factor;
    factor.group_ = group;
    factor.order_ = falling_order(diagonal, group);
    const double mean = std::accumulate(diagonal.begin(), diagonal.end(), 0.0) / static_cast<double>(n);
    Matrix reversed(n, n);
    float added = 0.0F;
    for (;; damping = std::max(kLeastRaisedDamping, 10.0 * damping)) {
        if (damping > kMostDamping) {
            return Status(StatusCode::kInvalidArgument,
                          "error feedback: the input moments are not those of any inputs (no damping helps)");
        }
        // Without any input every rounding is as good: nearest.
        added = static_cast<float>(mean > 0.0 ? damping * mean : 1.0);
        fill_reversed(moments, factor.order_, added, &reversed);
        const Eigen::LLT<Eigen::Ref<Matrix>> llt(reversed);
        const auto pivots = reversed.diagonal();
        if (llt.info() == Eigen::Success && pivots.allFinite() && pivots.minCoeff() > 1e-5F * pivots.maxCoeff()) {
            break;
        }
    }
    factor.damping_ = damping;
    factor.factor_.assign(static_cast<size_t>(n * n), 0.0F);
    for (int64_t i = 0; i < n; ++i) {
        const float * row = reversed.data() + i * n;
        std::reverse_copy(row, row + i + 1, factor.factor_.begin() + (n - 1 - i) * n + (n - 1 - i));
    }
    factor.metric_.assign(moments.data(), moments.data() + n * n);
    for (int64_t i = 0; i < n; ++i) {
        factor.metric_[static_cast<size_t>(i * n + i)] += added;
    }
    return factor;
}

}  // namespace edgemoe
