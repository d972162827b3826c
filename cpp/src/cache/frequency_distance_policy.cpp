// The EdgeMoE paper's policy (arXiv 2308.14352, section 3.4): an expert is worth its frequency times the nearness of
// its layer's next turn in the fixed cycle of layers. Here the frequency fades (as in decayed_frequency_policy.cpp).
//
// Invariant: the values of a layer are as of step last_step_[layer], its latest visit.
#include "cache/layer_distance.h"
#include "cache/policies.h"
#include "cache/retention_table.h"

#include <cmath>

namespace edgemoe {
namespace {

constexpr float kDecay = 0.95F;            // per step
constexpr float kDistanceStrength = 0.3F;  // how much less an expert is worth whose turn comes a whole cycle later

class FrequencyDistancePolicy final : public EvictionPolicy {
public:
    explicit FrequencyDistancePolicy(PolicyShape shape)
        : frequencies_(shape),
          last_step_(static_cast<size_t>(shape.n_layers), 0),
          layer_weights_(static_cast<size_t>(shape.n_layers), 1.0F) {}

    void on_use(ExpertId id, PolicyTime now, ExpertUse) override {
        int64_t & last_step = last_step_[static_cast<size_t>(id.layer)];
        if (now.step != last_step) {
            // Steps restart when a session does; then nothing fades.
            const float n_steps = now.step > last_step ? static_cast<float>(now.step - last_step) : 0.0F;
            frequencies_.scale_layer(id.layer, std::pow(kDecay, n_steps));
            last_step = now.step;
        }
        frequencies_.set_value(id, frequencies_.value(id) + 1.0F);
    }

    void on_insert(ExpertId id, PolicyTime) override { frequencies_.insert(id); }
    void on_remove(ExpertId id) override { frequencies_.remove(id); }

    bool victim(PolicyTime now, const Filter & filter, ExpertId * id) override {
        weigh_by_layer_distance(now, kDistanceStrength, &layer_weights_);
        return frequencies_.least(layer_weights_, filter, id);
    }

    float value(ExpertId id) const override { return frequencies_.value(id); }

    const char * name() const override { return "frequency-distance"; }

private:
    RetentionTable frequencies_;
    std::vector<int64_t> last_step_;
    std::vector<float> layer_weights_;
};

}  // namespace

std::unique_ptr<EvictionPolicy> make_frequency_distance_policy(PolicyShape shape) {
    return std::make_unique<FrequencyDistancePolicy>(shape);
}

}  // namespace edgemoe
