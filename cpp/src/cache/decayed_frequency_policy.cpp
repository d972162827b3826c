// Frequency that fades: a use is worth 1 now and kDecay^n after n steps; the least worth leaves.
//
// Invariant: the values of a layer are as of step last_step_[layer], its latest visit.
#include "cache/policies.h"
#include "cache/retention_table.h"

#include <algorithm>
#include <cmath>

namespace edgemoe {
namespace {

constexpr float kDecay = 0.95F;  // per step

class DecayedFrequencyPolicy final : public EvictionPolicy {
public:
    explicit DecayedFrequencyPolicy(PolicyShape shape)
        : frequencies_(shape),
          last_step_(static_cast<size_t>(shape.n_layers), 0),
          layer_weights_(static_cast<size_t>(shape.n_layers), 1.0F) {}

    void on_use(ExpertId id, PolicyTime now, ExpertUse) override {
        int64_t & last_step = last_step_[static_cast<size_t>(id.layer)];
        if (now.step != last_step) {
            frequencies_.scale_layer(id.layer, fading(last_step, now.step));
            last_step = now.step;
        }
        frequencies_.set_value(id, frequencies_.value(id) + 1.0F);
    }

    void on_insert(ExpertId id, PolicyTime) override { frequencies_.insert(id); }
    void on_remove(ExpertId id) override { frequencies_.remove(id); }

    bool victim(PolicyTime now, const Filter & filter, ExpertId * id) override {
        for (size_t layer = 0; layer < last_step_.size(); ++layer) {
            layer_weights_[layer] = fading(last_step_[layer], now.step);
        }
        return frequencies_.least(layer_weights_, filter, id);
    }

    float value(ExpertId id) const override { return frequencies_.value(id); }

    const char * name() const override { return "decayed-frequency"; }

private:
    // Steps restart when a session does; then nothing fades. Never 0, so that the order within a layer is kept.
    static float fading(int64_t from_step, int64_t to_step) {
        constexpr int64_t kMostSteps = 256;
        if (to_step <= from_step) {
            return 1.0F;
        }
        return std::pow(kDecay, static_cast<float>(std::min(to_step - from_step, kMostSteps)));
    }

    RetentionTable frequencies_;
    std::vector<int64_t> last_step_;
    std::vector<float> layer_weights_;
};

}  // namespace

std::unique_ptr<EvictionPolicy> make_decayed_frequency_policy(PolicyShape shape) {
    return std::make_unique<DecayedFrequencyPolicy>(shape);
}

}  // namespace edgemoe
