#include "rounding/round_matrix.h"

#include <algorithm>
#include <atomic>
#include <limits>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "ggml.h"
#include "rounding/block_choice.h"
#include "rounding/error_feedback.h"
#include "rounding/feedback_factor.h"
#include "rounding/finite.h"
#include "rounding/grid_format.h"
#include "rounding/panel.h"
#include "rounding/parallel.h"
#include "rounding/refinement.h"
#include "rounding/scalar_format.h"

namespace edgemoe {
namespace {

// Each sweep costs about as much as error feedback itself. On calibration text that was not fitted, the first takes
// 6-8% off the quadratic error, the next two together 2-4%.
constexpr int kSweeps = 3;
// Scales are 16-bit floats.
constexpr float kMostWeight = 65504.0F;
// ggml's quantizers divide by sums of importance: a value below this share of the mean counts as that.
constexpr double kLeastImportance = 1e-7;

Status refuse(StatusCode code, ggml_type type, const std::string & reason) {
    const char * name = type >= 0 && type < GGML_TYPE_COUNT ? ggml_type_name(type) : nullptr;
    return {code,
            "rounding to " + (name != nullptr ? std::string(name) : "type " + std::to_string(type)) + ": " + reason};
}

// Importance that any quantizer of ggml can take: nothing too small, and ones where there is nothing at all.
std::vector<float> usable_importance(const float * importance, int64_t columns) {
    std::vector<float> usable(importance, importance + columns);
    const double mean = std::accumulate(usable.begin(), usable.end(), 0.0) / static_cast<double>(columns);
    const auto floor = static_cast<float>(kLeastImportance * mean);
    if (!(floor > 0.0F)) {
        std::fill(usable.begin(), usable.end(), 1.0F);
    }
    for (float & value : usable) {
        value = std::max(value, floor);
    }
    return usable;
}

Status check(ggml_type type, const float * weights, int64_t n_rows, int64_t columns, const float * importance,
             const FeedbackFactor * factor) {
    if (type < 0 || type >= GGML_TYPE_COUNT || !ggml_is_quantized(type) ||
        ggml_get_type_traits(type)->to_float == nullptr || ggml_blck_size(type) == 0) {
        return refuse(StatusCode::kUnsupported, type, "ggml has no quantizer for it");
    }
    if (n_rows < 1 || columns < 1 || columns % ggml_blck_size(type) != 0) {
        return refuse(StatusCode::kInvalidArgument, type,
                      std::to_string(n_rows) + " rows of " + std::to_string(columns) +
                          " columns are no whole blocks of " + std::to_string(ggml_blck_size(type)));
    }
    if (!all_within(weights, n_rows * columns, kMostWeight)) {
        return refuse(StatusCode::kInvalidArgument, type, "a weight is not a number or beyond 65504");
    }
    if (importance == nullptr && ggml_quantize_requires_imatrix(type)) {
        return refuse(StatusCode::kInvalidArgument, type, "it needs the importance of the columns");
    }
    if (importance != nullptr && (!all_within(importance, columns, std::numeric_limits<float>::max()) ||
                                  std::any_of(importance, importance + columns, [](float v) { return v < 0.0F; }))) {
        return refuse(StatusCode::kInvalidArgument, type, "an importance is negative or not a number");
    }
    if (factor == nullptr) {
        return Status::ok();
    }
    if (!can_round(type)) {
        return refuse(StatusCode::kUnsupported, type, "its integers cannot be chosen by error feedback");
    }
    if (factor->columns() != columns || factor->group() % feedback_group(type) != 0) {
        return refuse(StatusCode::kInvalidArgument, type,
                      "a factor of " + std::to_string(factor->columns()) + " columns in groups of " +
                          std::to_string(factor->group()) + " does not fit " + std::to_string(columns) +
                          " columns in groups of " + std::to_string(feedback_group(type)));
    }
    return Status::ok();
}

}  // namespace

bool can_round(int32_t ggml_type) {
    return scalar_format(ggml_type) != nullptr || grid_format(ggml_type) != nullptr;
}

int64_t feedback_group(int32_t ggml_type) {
    return scalar_format(ggml_type) != nullptr ? 1 : grid_format(ggml_type) != nullptr ? 8 : 0;
}

Status round_matrix(int32_t ggml_type, const float * weights, int64_t n_rows, int64_t columns, const float * importance,
                    const FeedbackFactor * factor, int n_threads, std::byte * blocks, std::byte * nearest) {
    const auto type = static_cast<enum ggml_type>(ggml_type);
    if (Status status = check(type, weights, n_rows, columns, importance, factor); !status.is_ok()) {
        return status;
    }
    std::vector<float> usable;
    if (importance != nullptr) {
        usable = usable_importance(importance, columns);
    }
    ggml_quantize_init(type);
    const auto row_bytes = static_cast<int64_t>(ggml_row_size(type, columns));
    std::atomic<bool> finite{true};
    const int64_t lanes = panel_lanes(n_rows);
    const int64_t n_panels = (n_rows + lanes - 1) / lanes;
    const int64_t n_workers = std::clamp<int64_t>(n_threads, 1, n_panels);
    std::atomic<int64_t> next{0};
    parallel_for(n_workers, n_threads, [&](int64_t /*worker*/) {
        std::unique_ptr<BlockChoice> choice;
        std::unique_ptr<ErrorFeedback> feedback;
        std::unique_ptr<Refinement> refinement;
        if (factor != nullptr) {
            choice = make_scalar_choice(type, columns, lanes);
            if (choice == nullptr) {
                choice = make_grid_choice(type, columns, lanes);
            }
            feedback = std::make_unique<ErrorFeedback>(*factor, lanes);
            refinement = std::make_unique<Refinement>(*factor, lanes);
        }
        for (int64_t panel = next++; panel < n_panels && finite; panel = next++) {
            const int64_t first = panel * lanes;
            const int64_t n = std::min(lanes, n_rows - first);
            const float * rows = weights + first * columns;
            std::byte * to = blocks + first * row_bytes;
            ggml_quantize_chunk(type, rows, to, 0, n, columns, importance != nullptr ? usable.data() : nullptr);
            if (nearest != nullptr) {
                std::copy_n(to, n * row_bytes, nearest + first * row_bytes);
            }
            if (factor == nullptr) {
                continue;
            }
            if (!choice->open(to, n)) {
                finite = false;
                continue;
            }
            feedback->run(rows, n, choice.get());
            refinement->run(rows, n, kSweeps, choice.get());
            choice->close(to, n);
        }
    });
    return finite ? Status::ok()
                  : refuse(StatusCode::kInvalidArgument, type, "ggml's quantizer left a scale that is not finite");
}

}  // namespace edgemoe
