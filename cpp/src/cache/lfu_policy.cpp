// Least frequently used, counted since the model was loaded: what was needed often in the past stays for ever.
// Of equally often used experts the lowest id leaves.
#include "cache/policies.h"
#include "cache/retention_table.h"

namespace edgemoe {
namespace {

class LfuPolicy final : public EvictionPolicy {
public:
    explicit LfuPolicy(PolicyShape shape) : counts_(shape), layer_weights_(static_cast<size_t>(shape.n_layers), 1.0F) {}

    // A float counts exactly to 2^24 uses and then stays there, in order.
    void on_use(ExpertId id, PolicyTime, ExpertUse) override { counts_.set_value(id, counts_.value(id) + 1.0F); }
    void on_insert(ExpertId id, PolicyTime) override { counts_.insert(id); }
    void on_remove(ExpertId id) override { counts_.remove(id); }

    bool victim(PolicyTime, const Filter & filter, ExpertId * id) override {
        return counts_.least(layer_weights_, filter, id);
    }

    float value(ExpertId id) const override { return counts_.value(id); }

    const char * name() const override { return "lfu"; }

private:
    RetentionTable counts_;
    std::vector<float> layer_weights_;
};

}  // namespace

std::unique_ptr<EvictionPolicy> make_lfu_policy(PolicyShape shape) {
    return std::make_unique<LfuPolicy>(shape);
}

}  // namespace edgemoe
