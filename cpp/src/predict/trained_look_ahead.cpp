// The trained look-ahead: a linear map of this layer's FFN input and of the routing so far, fitted to what the target's
// router says later (docs/prediction.md).
#include "predict/predictors.h"

namespace edgemoe {
namespace {

class TrainedLookAhead final : public Predictor {
public:
    explicit TrainedLookAhead(PredictorShape shape) : n_experts_(static_cast<size_t>(shape.n_experts)) {}

    bool score(const PredictionInput & input, float * scores) override {
        if (input.look_ahead == nullptr) {
            return false;
        }
        std::copy_n(input.look_ahead, n_experts_, scores);
        return true;
    }

private:
    size_t n_experts_;
};

}  // namespace

std::unique_ptr<Predictor> make_trained_look_ahead(PredictorShape shape) {
    return std::make_unique<TrainedLookAhead>(shape);
}

}  // namespace edgemoe
