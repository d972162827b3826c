// What rounding an expert's matrices costs: CPU seconds on one thread, for each type and width, and what is gained in
// the quadratic error. Weights and inputs are random, the inputs correlated; the cost does not depend on them, the gain
// does.
//
//     rounding_cost [columns...]        default: 256 1024 2048; a matrix has half as many rows, at least 256
#include <sys/resource.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <vector>

#include "ggml.h"
#include "rounding/feedback_factor.h"
#include "rounding/input_moments.h"
#include "rounding/round_matrix.h"

namespace {

using edgemoe::FeedbackFactor;
using edgemoe::InputMoments;

double cpu_seconds() {
    rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    const auto seconds = [](const timeval & time) {
        return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
    };
    return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

std::vector<float> random_values(int64_t n, float deviation, uint32_t seed) {
    std::mt19937 generator(seed);
    std::normal_distribution<float> normal(0.0F, deviation);
    std::vector<float> values(static_cast<size_t>(n));
    std::generate(values.begin(), values.end(), [&] { return normal(generator); });
    return values;
}

// A running sum over columns makes neighbours alike.
std::vector<float> correlated_inputs(int64_t n_tokens, int64_t columns) {
    std::vector<float> inputs = random_values(n_tokens * columns, 1.0F, 1);
    for (int64_t t = 0; t < n_tokens; ++t) {
        for (int64_t j = 1; j < columns; ++j) {
            inputs[static_cast<size_t>(t * columns + j)] += 0.7F * inputs[static_cast<size_t>(t * columns + j - 1)];
        }
    }
    return inputs;
}

bool report_type(int32_t type, const std::vector<float> & weights, int64_t n_rows, const InputMoments & moments,
                 const FeedbackFactor & factor) {
    const int64_t columns = moments.columns();
    const std::vector<float> importance = moments.diagonal();
    std::vector<std::byte> nearest(ggml_row_size(static_cast<ggml_type>(type), columns) * static_cast<size_t>(n_rows));
    std::vector<std::byte> fed_back(nearest.size());
    ggml_quantize_init(static_cast<ggml_type>(type));  // makes the grids' tables, once a process
    const double start = cpu_seconds();
    const edgemoe::Status by_ggml =
        edgemoe::round_matrix(type, weights.data(), n_rows, columns, importance.data(), nullptr, 1, nearest.data());
    const double middle = cpu_seconds();
    const edgemoe::Status by_feedback =
        edgemoe::round_matrix(type, weights.data(), n_rows, columns, importance.data(), &factor, 1, fed_back.data());
    const double end = cpu_seconds();
    if (!by_ggml.is_ok() || !by_feedback.is_ok()) {
        std::fprintf(stderr, "%s%s\n", by_ggml.message().c_str(), by_feedback.message().c_str());
        return false;
    }
    const double gain = edgemoe::quadratic_error(type, weights.data(), fed_back.data(), n_rows, moments, 1) /
                        edgemoe::quadratic_error(type, weights.data(), nearest.data(), n_rows, moments, 1);
    std::printf("  %-8s ggml %7.3f s, all %7.3f s, quadratic error x %.3f\n",
                ggml_type_name(static_cast<ggml_type>(type)), middle - start, end - middle, gain);
    return true;
}

bool report_width(int64_t columns) {
    constexpr int64_t kTokens = 2048;
    const int64_t n_rows = std::max<int64_t>(256, columns / 2);
    const std::vector<float> inputs = correlated_inputs(kTokens, columns);
    const std::vector<float> token_weights(kTokens, 1.0F);
    const double start = cpu_seconds();
    InputMoments moments(columns);
    moments.add(inputs.data(), token_weights.data(), kTokens, 1);
    const double middle = cpu_seconds();
    const auto single = FeedbackFactor::make(moments, 0.01, 1);
    const double end = cpu_seconds();
    const auto grouped = FeedbackFactor::make(moments, 0.01, 8);
    if (!single.is_ok() || !grouped.is_ok()) {
        std::fprintf(stderr, "%s\n", (single.is_ok() ? grouped : single).status().message().c_str());
        return false;
    }
    std::printf("%d x %d: moments of %d tokens %.3f s, a factor %.3f s\n", static_cast<int>(n_rows),
                static_cast<int>(columns), static_cast<int>(kTokens), middle - start, end - middle);
    const std::vector<float> weights = random_values(n_rows * columns, 0.03F, 2);
    for (int32_t type = 0; type < GGML_TYPE_COUNT; ++type) {
        if (edgemoe::can_round(type) && columns % ggml_blck_size(static_cast<ggml_type>(type)) == 0) {
            const FeedbackFactor & factor = (edgemoe::feedback_group(type) == 1 ? single : grouped).value();
            if (!report_type(type, weights, n_rows, moments, factor)) {
                return false;
            }
        }
    }
    return true;
}

}  // namespace

int main(int argc, char ** argv) {
    std::vector<int64_t> widths;
    for (int i = 1; i < argc; ++i) {
        widths.push_back(std::atoll(argv[i]));
    }
    if (widths.empty()) {
        widths = {256, 1024, 2048};
    }
    for (const int64_t columns : widths) {
        if (columns < 32 || columns % 32 != 0) {
            std::fprintf(stderr, "rounding_cost: a width is a multiple of 32\n");
            return 2;
        }
        if (!report_width(columns)) {
            return 1;
        }
    }
    return 0;
}
