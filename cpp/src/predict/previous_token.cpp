// What the target chose for the last token, the router's favourites first.
#include "predict/predictors.h"

namespace edgemoe {
namespace {

class PreviousToken final : public Predictor {
public:
    explicit PreviousToken(PredictorShape shape) : n_experts_(static_cast<size_t>(shape.n_experts)) {}

    bool score(const PredictionInput & input, float * scores) override {
        if (input.target_last.n == 0) {
            return false;
        }
        std::fill_n(scores, n_experts_, 0.0F);
        float rank = static_cast<float>(input.target_last.n);
        for_each_expert(input.target_last, [&](size_t expert) { scores[expert] = rank--; });
        return true;
    }

private:
    size_t n_experts_;
};

}  // namespace

std::unique_ptr<Predictor> make_previous_token(PredictorShape shape) {
    return std::make_unique<PreviousToken>(shape);
}

}  // namespace edgemoe
