#include <Eigen/Core>
#include <algorithm>
#include <numeric>
#include <vector>

#include "ggml.h"
#include "rounding/input_moments.h"
#include "rounding/panel.h"
#include "rounding/parallel.h"
#include "rounding/round_matrix.h"

namespace edgemoe {

double quadratic_error(int32_t ggml_type, const float * weights, const std::byte * blocks, int64_t n_rows,
                       const InputMoments & moments, int n_threads) {
    using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
    const auto type = static_cast<enum ggml_type>(ggml_type);
    const int64_t columns = moments.columns();
    const size_t row_bytes = ggml_row_size(type, columns);
    const ggml_to_float_t to_float = ggml_get_type_traits(type)->to_float;
    const Eigen::Map<const Matrix> metric(moments.data(), columns, columns);
    // One sum a panel, added up in their order.
    std::vector<double> sums(static_cast<size_t>((n_rows + kMostLanes - 1) / kMostLanes));
    parallel_for(static_cast<int64_t>(sums.size()), n_threads, [&](int64_t panel) {
        const int64_t first = panel * kMostLanes;
        const int64_t n = std::min(kMostLanes, n_rows - first);
        Matrix errors(n, columns);
        to_float(blocks + static_cast<size_t>(first) * row_bytes, errors.data(), n * columns);
        errors = Eigen::Map<const Matrix>(weights + first * columns, n, columns) - errors;
        const Matrix product = errors * metric;
        double sum = 0.0;
        for (int64_t row = 0; row < n; ++row) {
            sum += static_cast<double>(product.row(row).dot(errors.row(row)));
        }
        sums[static_cast<size_t>(panel)] = sum;
    });
    return std::accumulate(sums.begin(), sums.end(), 0.0);
}

}  // namespace edgemoe
