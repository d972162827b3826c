#include "engine/expert_rounding.h"

#include "engine/expert_weights.h"
#include "engine/feedback_factors.h"
#include "rounding/round_matrix.h"

#include "ggml.h"

#include <cstring>
#include <optional>

namespace edgemoe {

namespace {

// Rows that the two ways of rounding are compared on.
constexpr int64_t kJudgedRows = 128;

}  // namespace

Status ExpertRounder::round(const LayerActivations & activations, const MomentsPrior & prior, int32_t expert,
                            const ExpertTypes & types, RoundingJournal * journal) {
    const ExpertId id{activations.shape.layer, expert};
    const ExpertParts & parts = source_.experts().parts(id);
    for (const bool down : {false, true}) {
        std::optional<ExpertMoments> moments;
        std::optional<FeedbackFactors> factors;
        for (size_t p = 0; p < kProjectionCount; p++) {
            const auto projection = static_cast<Projection>(p);
            const RoundedKey key{id, projection, types[p]};
            if ((projection == Projection::kDown) != down || types[p] == kNoType || journal->contains(key)) {
                continue;
            }
            if (!moments) {
                Result<ExpertMoments> read = moments_.read(activations, prior, expert, projection, parts[p].columns);
                if (!read.is_ok()) {
                    return read.status();
                }
                moments.emplace(std::move(read).value());
                factors.emplace(*moments);
            }
            Result<RoundedPart> part = round_matrix_part(id, projection, types[p], *moments, &*factors);
            Status status = part.is_ok() ? journal->append(key, part.value()) : part.status();
            if (!status.is_ok()) {
                return status;
            }
        }
    }
    return Status::ok();
}

Result<RoundedPart> ExpertRounder::round_matrix_part(ExpertId id, Projection projection, int32_t type,
                                                     const ExpertMoments & moments, FeedbackFactors * factors) {
    const ExpertPart & part = source_.experts().parts(id)[static_cast<size_t>(projection)];
    const int64_t columns = part.columns;
    const size_t row_bytes = ggml_row_size(static_cast<ggml_type>(type), columns);
    Result<std::vector<float>> matrix = read_expert_matrix(source_, id, projection);
    if (!matrix.is_ok()) {
        return matrix.status();
    }
    const std::vector<float> importance = moments.importance();
    const size_t n_bytes = static_cast<size_t>(part.rows) * row_bytes;
    RoundedPart rounded;
    rounded.bytes.resize(n_bytes);
    std::vector<std::byte> nearest;
    const auto round_all = [&](const FeedbackFactor * factor) {
        return round_matrix(type, matrix.value().data(), part.rows, columns, importance.data(), factor, 1,
                            rounded.bytes.data(), nearest.empty() ? nullptr : nearest.data());
    };
    if (rounding_ == Rounding::kNearest || !can_round(type) || moments.held.total_weight() <= 0) {
        Status status = round_all(nullptr);
        return status.is_ok() ? Result<RoundedPart>(std::move(rounded)) : status;
    }
    const Result<const FeedbackFactor *> factor = factors->for_type(type);
    if (!factor.is_ok()) {
        return factor.status();
    }
    nearest.resize(n_bytes);
    const Status status = round_all(factor.value());
    if (!status.is_ok()) {
        return status;
    }

    const std::vector<int64_t> rows = evenly_spaced(part.rows, kJudgedRows);
    const std::vector<float> sample = gather_rows(matrix.value(), columns, rows);
    const auto judge = [&](const std::vector<std::byte> & all) {
        std::vector<std::byte> blocks(rows.size() * row_bytes);
        for (size_t i = 0; i < rows.size(); i++) {
            std::memcpy(blocks.data() + i * row_bytes, all.data() + static_cast<size_t>(rows[i]) * row_bytes,
                        row_bytes);
        }
        return quadratic_error(type, sample.data(), blocks.data(), static_cast<int64_t>(rows.size()), moments.held, 1);
    };
    rounded.error = judge(rounded.bytes);
    rounded.nearest_error = judge(nearest);
    rounded.feedback = rounded.error < rounded.nearest_error;
    if (!rounded.feedback) {
        rounded.error = rounded.nearest_error;
        rounded.bytes = std::move(nearest);
    }
    return rounded;
}

}  // namespace edgemoe
