// The default. An expert's value is the sum of two fading frequencies: a fast one, because what the last token or two
// used is likely used again, and a slow one, because each text has its favourites; times the nearness of its layer's
// next turn (EdgeMoE, arXiv 2308.14352). Each alone loses to the two together: docs/cache.md.
//
// Invariants: fast_ and slow_ of a layer are as of step last_step_[layer], its latest visit; the value of an expert in
// values_ is kFastWeight x fast + slow.
#include "cache/layer_distance.h"
#include "cache/policies.h"
#include "cache/retention_table.h"

#include <algorithm>
#include <cmath>

namespace edgemoe {
namespace {

// All three lie on wide plateaus; docs/cache.md has the sweep.
constexpr float kFastDecay = 0.4F;  // per step
constexpr float kSlowDecay = 0.96F;
constexpr float kFastWeight = 6.4F;
constexpr float kDistanceStrength = 0.3F;

class TwoTimescalePolicy final : public EvictionPolicy {
public:
    explicit TwoTimescalePolicy(PolicyShape shape)
        : values_(shape),
          fast_(static_cast<size_t>(shape.n_layers) * static_cast<size_t>(shape.n_experts), 0.0F),
          slow_(fast_.size(), 0.0F),
          last_step_(static_cast<size_t>(shape.n_layers), 0),
          layer_weights_(static_cast<size_t>(shape.n_layers), 1.0F) {}

    void on_use(ExpertId id, PolicyTime now) override {
        int64_t & last_step = last_step_[static_cast<size_t>(id.layer)];
        if (now.step != last_step) {
            // Steps restart when a session does; then nothing fades.
            fade(id.layer, now.step > last_step ? static_cast<float>(now.step - last_step) : 0.0F);
            last_step = now.step;
        }
        const size_t i = index(id);
        set(id, fast_[i] + 1.0F, slow_[i] + 1.0F);
    }

    // A speculative read counts like a use: without that its expert would be the first to leave.
    void on_insert(ExpertId id, PolicyTime) override {
        const size_t i = index(id);
        set(id, std::max(fast_[i], 1.0F), std::max(slow_[i], 1.0F));
        values_.insert(id);
    }

    void on_remove(ExpertId id) override { values_.remove(id); }

    bool victim(PolicyTime now, const Filter & filter, ExpertId * id) override {
        weigh_by_layer_distance(now, kDistanceStrength, &layer_weights_);
        return values_.least(layer_weights_, filter, id);
    }

    const char * name() const override { return "two-timescale"; }

private:
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

    void fade(int32_t layer, float n_steps) {
        const float fast_factor = std::pow(kFastDecay, n_steps);
        const float slow_factor = std::pow(kSlowDecay, n_steps);
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
};

}  // namespace

std::unique_ptr<EvictionPolicy> make_two_timescale_policy(PolicyShape shape) {
    return std::make_unique<TwoTimescalePolicy>(shape);
}

}  // namespace edgemoe
