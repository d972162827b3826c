// Learned next use: an expert is worth the score that a predictor gives it (how soon and how often its layer will
// choose it over the next tokens; docs/prediction.md), times the nearness of its layer's next turn.
//
// A layer whose scores did not come, or not for some steps (no predictor, or several sequences decoded together), is
// valued by decayed frequencies, scaled like scores: a layer's sum to 1.
//
// Invariant: the frequencies of a layer are as of step last_step_[layer], its latest visit.
#include "cache/layer_distance.h"
#include "cache/policies.h"
#include "cache/retention_table.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace edgemoe {
namespace {

constexpr float kDecay = 0.95F;            // per step
constexpr float kDistanceStrength = 0.3F;  // how much less an expert is worth whose turn comes a whole cycle later
constexpr int64_t kStaleSteps = 2;         // scores that are older are not used

class NextUsePolicy final : public EvictionPolicy {
public:
    explicit NextUsePolicy(PolicyShape shape)
        : values_(shape),
          frequencies_(static_cast<size_t>(shape.n_layers) * static_cast<size_t>(shape.n_experts), 0.0F),
          last_step_(static_cast<size_t>(shape.n_layers), 0),
          scored_step_(static_cast<size_t>(shape.n_layers), kNever),
          layer_weights_(static_cast<size_t>(shape.n_layers), 1.0F) {}

    void on_use(ExpertId id, PolicyTime now, ExpertUse) override {
        float * frequencies = frequencies_of(id.layer);
        int64_t & last_step = last_step_[static_cast<size_t>(id.layer)];
        if (now.step != last_step) {
            // Steps restart when a session does; then nothing fades.
            const float n_steps = now.step > last_step ? static_cast<float>(now.step - last_step) : 0.0F;
            const float factor = std::pow(kDecay, n_steps);
            std::transform(frequencies, frequencies + values_.n_experts(), frequencies,
                           [factor](float value) { return flush_negligible(value * factor); });
            last_step = now.step;
        }
        frequencies[id.expert] += 1.0F;
        const int64_t scored = scored_step_[static_cast<size_t>(id.layer)];
        if (scored == kNever || now.step < scored || now.step - scored > kStaleSteps) {
            scored_step_[static_cast<size_t>(id.layer)] = kNever;
            take_frequencies(id.layer);
        }
    }

    // What was read speculatively is worth what is known of it: the cache protects it while it is forecast.
    void on_insert(ExpertId id, PolicyTime) override { values_.insert(id); }
    void on_remove(ExpertId id) override { values_.remove(id); }

    void on_scores(int32_t layer, const float * scores, size_t n) override {
        if (layer < 0 || layer >= values_.n_layers()) {
            return;
        }
        float * values = values_.rewrite_layer(layer);
        const size_t n_values = static_cast<size_t>(values_.n_experts());
        // A number that is none would never be the least, and its expert never leave.
        std::transform(scores, scores + std::min(n, n_values), values,
                       [](float score) { return std::isfinite(score) ? score : 0.0F; });
        scored_step_[static_cast<size_t>(layer)] = last_step_[static_cast<size_t>(layer)];
    }

    bool takes_scores() const override { return true; }

    bool victim(PolicyTime now, const Filter & filter, ExpertId * id) override {
        weigh_by_layer_distance(now, kDistanceStrength, &layer_weights_);
        return values_.least(layer_weights_, filter, id);
    }

    float value(ExpertId id) const override { return values_.value(id); }

    const char * name() const override { return "next-use"; }

private:
    static constexpr int64_t kNever = std::numeric_limits<int64_t>::min();

    float * frequencies_of(int32_t layer) {
        return frequencies_.data() + static_cast<size_t>(layer) * static_cast<size_t>(values_.n_experts());
    }

    void take_frequencies(int32_t layer) {
        const float * frequencies = frequencies_of(layer);
        const int32_t n = values_.n_experts();
        float sum = 0;
        for (int32_t expert = 0; expert < n; ++expert) {
            sum += frequencies[expert];
        }
        float * values = values_.rewrite_layer(layer);
        std::transform(frequencies, frequencies + n, values, [sum](float value) { return value / sum; });
    }

    RetentionTable values_;
    std::vector<float> frequencies_;    // by layer * n_experts + expert
    std::vector<int64_t> last_step_;    // by layer
    std::vector<int64_t> scored_step_;  // by layer; kNever: valued by frequencies
    std::vector<float> layer_weights_;
};

}  // namespace

std::unique_ptr<EvictionPolicy> make_next_use_policy(PolicyShape shape) {
    return std::make_unique<NextUsePolicy>(shape);
}

}  // namespace edgemoe
