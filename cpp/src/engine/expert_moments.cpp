#include "engine/expert_moments.h"

#include "engine/expert_weights.h"
#include "engine/input_rounding.h"

#include "ggml.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace edgemoe {

namespace {

// Error feedback with as many tokens as columns, or fewer, would fit their noise.
constexpr double kLeastDamping = 0.01;
constexpr double kMostDamping = 0.1;
constexpr double kDampingTokens = 0.4;  // damping * tokens / columns

// More tokens of an expert than this for each column would gain nothing.
constexpr int64_t kMostTokensPerColumn = 128;

// The layer's moments are needed roughly only: so many tokens for each column.
constexpr int64_t kPriorTokensPerColumn = 2;

double damping_of(int64_t n_tokens, int64_t columns) {
    const double ratio = static_cast<double>(columns) / static_cast<double>(std::max<int64_t>(1, n_tokens));
    return std::clamp(kDampingTokens * ratio, kLeastDamping, kMostDamping);
}

// += weight * square * identity.
void add_isotropic(InputMoments * moments, double square, double weight) {
    const auto columns = static_cast<size_t>(moments->columns());
    constexpr size_t kRows = 64;
    const std::vector<float> weights(kRows, static_cast<float>(weight));
    std::vector<float> rows(kRows * columns);
    for (size_t first = 0; first < columns; first += kRows) {
        const size_t n = std::min(kRows, columns - first);
        std::fill(rows.begin(), rows.end(), 0.0F);
        for (size_t i = 0; i < n; i++) {
            rows[i * columns + first + i] = static_cast<float>(std::sqrt(square));
        }
        moments->add(rows.data(), weights.data(), static_cast<int64_t>(n), 1);
    }
}

// How much a squared error of this token's result counts, as ExpertInputs has it.
float error_weight(const LayerActivations & activations, size_t slot) {
    const float weight = activations.weights[slot];
    return activations.facts.weights_before_experts ? 1.0F : weight * weight;
}

}  // namespace

MomentsPrior MomentsPrior::of(const LayerActivations & activations, const LayerProfile & profile,
                              const CalibrationSplit & split, int n_threads) {
    MomentsPrior prior;
    const auto n_used = static_cast<size_t>(activations.shape.n_used);
    std::vector<int32_t> fitted;
    double weight_sum = 0;
    int64_t n_routed = 0;
    for (int64_t token = 0; token < activations.n_tokens; token++) {
        if (split.is_held(token)) {
            continue;
        }
        fitted.push_back(static_cast<int32_t>(token));
        for (size_t k = 0; k < n_used; k++) {
            const size_t slot = static_cast<size_t>(token) * n_used + k;
            if (activations.ids[slot] >= 0) {
                weight_sum += error_weight(activations, slot);
                n_routed++;
            }
        }
    }
    prior.token_weight_ = n_routed > 0 ? weight_sum / static_cast<double>(n_routed) : 1.0;
    prior.mean_weight_ = weight_sum / std::max<double>(1, activations.shape.n_experts);

    const int64_t columns = activations.shape.columns;
    InputMoments moments(columns);
    std::vector<int32_t> sample;
    for (const int64_t i : evenly_spaced(static_cast<int64_t>(fitted.size()), columns * kPriorTokensPerColumn)) {
        sample.push_back(fitted[static_cast<size_t>(i)]);
    }
    std::vector<float> rows(sample.size() * static_cast<size_t>(columns));
    activations.decode(sample, rows.data());
    const std::vector<float> weights(
        sample.size(),
        static_cast<float>(prior.token_weight_ / static_cast<double>(std::max<size_t>(1, sample.size()))));
    moments.add(rows.data(), weights.data(), static_cast<int64_t>(sample.size()), n_threads);
    prior.input_ = std::move(moments);

    double down_sum = 0;
    for (const float sum : profile.down.sums) {
        down_sum += sum;
    }
    double down_weight = 0;
    for (const double weight : profile.total_weight) {
        down_weight += weight;
    }
    prior.down_square_ =
        down_sum > 0 && down_weight > 0 ? down_sum / (down_weight * static_cast<double>(profile.down.columns)) : 1.0;
    return prior;
}

void MomentsPrior::blend(bool down, ExpertMoments * moments) const {
    const int64_t columns = moments->fitted.columns();
    const double n_tokens = kTokens + static_cast<double>(std::max<int64_t>(0, columns - moments->n_fitted)) / 8;
    if (!down && input_ && input_->columns() == columns) {
        moments->fitted.blend(*input_, n_tokens);
    } else if (moments->n_fitted < columns) {
        add_isotropic(&moments->fitted, down_square_, n_tokens * token_weight_);
    }
}

Result<ExpertMoments> ExpertMomentsReader::read(const LayerActivations & activations, const MomentsPrior & prior,
                                                int32_t expert, Projection projection, int64_t columns) {
    ExpertMoments moments{InputMoments(columns), InputMoments(columns)};
    for (const int32_t type : input_types_) {
        if (columns % ggml_blck_size(static_cast<ggml_type>(type)) == 0) {
            moments.input_errors[type].assign(static_cast<size_t>(columns), 0.0);
        }
    }
    double weight = 0;
    const Status status = inputs_.read_pieces(
        activations, expert, projection, kMostTokensPerColumn * columns, {}, [&](const ExpertInputs & piece) {
            for (auto & [type, sums] : moments.input_errors) {
                add_input_rounding(type, piece.inputs.data(), piece.weights.data(), piece.n, columns, &sums);
            }
            weight += std::accumulate(piece.weights.begin(), piece.weights.end(), 0.0);
            // Tokens of one part follow each other: whole stretches at once.
            for (size_t begin = 0; begin < piece.tokens.size();) {
                const bool held = split_.is_held(piece.tokens[begin]);
                size_t end = begin + 1;
                while (end < piece.tokens.size() && split_.is_held(piece.tokens[end]) == held) {
                    end++;
                }
                const auto n = static_cast<int64_t>(end - begin);
                InputMoments & part = held ? moments.held : moments.fitted;
                part.add(piece.inputs.data() + begin * static_cast<size_t>(columns), piece.weights.data() + begin, n,
                         1);
                (held ? moments.n_held : moments.n_fitted) += n;
                begin = end;
            }
            return Status::ok();
        });
    if (!status.is_ok() && status.code() != StatusCode::kUnsupported) {
        return status;
    }
    for (auto & [type, sums] : moments.input_errors) {
        for (double & sum : sums) {
            sum /= std::max(weight, std::numeric_limits<double>::min());
        }
    }
    moments.damping = damping_of(moments.n_fitted, columns);
    prior.blend(projection == Projection::kDown, &moments);
    return moments;
}

}  // namespace edgemoe
