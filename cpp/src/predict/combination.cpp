// Two predictors as one: log softmax of the first's scores plus kWeight times that of the second's, as if they were
// evidence that says partly the same. Where the second has nothing to go by, the first alone.
#include "predict/predictors.h"

#include <cmath>

namespace edgemoe {
namespace {

constexpr float kWeight = 0.3F;

class Combination final : public Predictor {
public:
    Combination(std::unique_ptr<Predictor> first, std::unique_ptr<Predictor> second, PredictorShape shape)
        : first_(std::move(first)), second_(std::move(second)), others_(static_cast<size_t>(shape.n_experts)) {}

    bool score(const PredictionInput & input, float * scores) override {
        if (!first_->score(input, scores)) {
            return false;
        }
        if (second_->score(input, others_.data())) {
            softmax(scores, others_.size());
            softmax(others_.data(), others_.size());
            for (size_t i = 0; i < others_.size(); i++) {
                scores[i] = logarithm(scores[i]) + kWeight * logarithm(others_[i]);
            }
        }
        return true;
    }

    void learn(const PredictionInput & input, ChosenExperts chosen) override {
        first_->learn(input, chosen);
        second_->learn(input, chosen);
    }

private:
    static float logarithm(float probability) { return std::log(std::max(probability, 1e-30F)); }

    std::unique_ptr<Predictor> first_;
    std::unique_ptr<Predictor> second_;
    std::vector<float> others_;
};

}  // namespace

std::unique_ptr<Predictor> make_router_and_path(PredictorShape shape) {
    return std::make_unique<Combination>(make_router_look_ahead(shape), make_path_statistic(shape), shape);
}

}  // namespace edgemoe
