// The default. An expert's value is the sum of two fading frequencies: a fast one, because what the last token or two
// used is likely used again, and a slow one, because each text has its favourites; times the nearness of its layer's
// next turn (EdgeMoE, arXiv 2308.14352). Each alone loses to the two together: docs/cache.md.
//
// Frequencies fade by tokens, not by steps. A step of many tokens (a prompt, a batch) is weighed token by token, so
// that what its end used is worth more than what its beginning used; but all of it together is worth no more than the
// use by one decoded token, because a prompt says less about what is generated than what was generated last.
//
// Invariants: fast_ and slow_ of a layer are as of step last_step_[layer], its latest visit; the value of an expert in
// values_ is kFastWeight x fast + slow; fast_powers_[n] and slow_powers_[n] are the n-th powers of the decays.
#include "cache/layer_distance.h"
#include "cache/policies.h"
#include "cache/retention_table.h"

#include <algorithm>
#include <cmath>

namespace edgemoe {
namespace {

// All lie on wide plateaus; docs/cache.md has the sweep.
constexpr float kFastDecay = 0.4F;  // per token
constexpr float kSlowDecay = 0.96F;
constexpr float kFastWeight = 4.0F;
constexpr float kDistanceStrength = 0.3F;
constexpr float kSharedStepWeight = 0.5F;  // of one of many tokens of a step

class TwoTimescalePolicy final : public EvictionPolicy {
public:
    explicit TwoTimescalePolicy(PolicyShape shape)
        : values_(shape),
          fast_(static_cast<size_t>(shape.n_layers) * static_cast<size_t>(shape.n_experts), 0.0F),
          slow_(fast_.size(), 0.0F),
          last_step_(static_cast<size_t>(shape.n_layers), 0),
          layer_weights_(static_cast<size_t>(shape.n_layers), 1.0F) {}

    void on_use(ExpertId id, PolicyTime now, ExpertUse use) override {
        int64_t & last_step = last_step_[static_cast<size_t>(id.layer)];
        if (now.step != last_step) {
            // Steps restart when a session does; then nothing fades but for the step's own tokens.
            const int64_t skipped = std::max<int64_t>(0, now.step - last_step - 1);
            fade(id.layer, static_cast<float>(skipped + use.n_step_tokens));
            last_step = now.step;
        }
        const size_t i = index(id);
        if (use.n_step_tokens == 1) {
            set(id, fast_[i] + 1.0F, slow_[i] + 1.0F);
        } else {
            set(id, fast_[i] + shared_use(use, kFastDecay, &fast_powers_),
                slow_[i] + shared_use(use, kSlowDecay, &slow_powers_));
        }
    }

    // What was read speculatively is worth what its uses were: the cache protects it while it is forecast.
    void on_insert(ExpertId id, PolicyTime) override { values_.insert(id); }

    void on_remove(ExpertId id) override { values_.remove(id); }

    bool victim(PolicyTime now, const Filter & filter, ExpertId * id) override {
        weigh_by_layer_distance(now, kDistanceStrength, &layer_weights_);
        return values_.least(layer_weights_, filter, id);
    }

    float value(ExpertId id) const override { return values_.value(id); }

    const char * name() const override { return "two-timescale"; }

private:
    // The worth of a use by some of many tokens: the sum of what each has faded to at the step's end, at most 1.
    static float shared_use(ExpertUse use, float decay, std::vector<float> * powers) {
        while (powers->size() < static_cast<size_t>(use.n_step_tokens)) {
            powers->push_back(powers->empty() ? 1.0F : flush_negligible(powers->back() * decay));
        }
        float sum = 0.0F;
        for (size_t token = 0; token < use.n_tokens; ++token) {
            sum += (*powers)[static_cast<size_t>(use.ages[token])];
        }
        return std::min(1.0F, kSharedStepWeight * sum);
    }

    size_t index(ExpertId id) const {
        return static_cast<size_t>(id.layer) * static_cast<size_t>(values_.n_experts()) +
               static_cast<size_t>(id.expert);
    }

    void set(ExpertId id, float fast, float slow) {
        const size_t i = index(id);
        fast_[i] = fast;
        slow_[i] = slow;
        values_.set_value(id, kFastWeight * fast + slow);
    }

    void fade(int32_t layer, float n_tokens) {
        const float fast_factor = std::pow(kFastDecay, n_tokens);
        const float slow_factor = std::pow(kSlowDecay, n_tokens);
        float * values = values_.rewrite_layer(layer);
        float * fast = &fast_[index({layer, 0})];
        float * slow = &slow_[index({layer, 0})];
        for (int32_t expert = 0; expert < values_.n_experts(); ++expert) {
            fast[expert] = flush_negligible(fast[expert] * fast_factor);
            slow[expert] = flush_negligible(slow[expert] * slow_factor);
            values[expert] = kFastWeight * fast[expert] + slow[expert];
        }
    }

    RetentionTable values_;
    std::vector<float> fast_;  // by layer * n_experts + expert
    std::vector<float> slow_;  // the same
    std::vector<int64_t> last_step_;
    std::vector<float> layer_weights_;
    std::vector<float> fast_powers_;
    std::vector<float> slow_powers_;
};

}  // namespace

std::unique_ptr<EvictionPolicy> make_two_timescale_policy(PolicyShape shape) {
    return std::make_unique<TwoTimescalePolicy>(shape);
}

}  // namespace edgemoe
