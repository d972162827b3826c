// How often the target has chosen each expert so far, whatever came before: learned as it goes, or from a profile by
// replaying its routing.
#include "predict/predictors.h"

namespace edgemoe {
namespace {

class Popularity final : public Predictor {
public:
    explicit Popularity(PredictorShape shape) : counts_(static_cast<size_t>(shape.n_experts), 0.0F) {}

    bool score(const PredictionInput &, float * scores) override {
        std::copy(counts_.begin(), counts_.end(), scores);
        return true;
    }

    void learn(const PredictionInput &, ChosenExperts chosen) override {
        for_each_expert(chosen, [this](size_t expert) { counts_[expert] += 1.0F; });
    }

private:
    std::vector<float> counts_;
};

}  // namespace

std::unique_ptr<Predictor> make_popularity(PredictorShape shape) {
    return std::make_unique<Popularity>(shape);
}

}  // namespace edgemoe
