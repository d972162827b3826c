// The field's look-ahead: the target's own router applied early, to this layer's FFN input.
#include "predict/predictors.h"

namespace edgemoe {
namespace {

class RouterLookAhead final : public Predictor {
public:
    explicit RouterLookAhead(PredictorShape shape) : n_experts_(static_cast<size_t>(shape.n_experts)) {}

    bool score(const PredictionInput & input, float * scores) override {
        if (input.router == nullptr) {
            return false;
        }
        std::copy_n(input.router, n_experts_, scores);
        return true;
    }

private:
    size_t n_experts_;
};

}  // namespace

std::unique_ptr<Predictor> make_router_look_ahead(PredictorShape shape) {
    return std::make_unique<RouterLookAhead>(shape);
}

}  // namespace edgemoe
