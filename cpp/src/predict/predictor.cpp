// The predictors by name. The order of the table is the order in which they are listed to users.
#include "predict/predictor.h"

#include "predict/predictors.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

namespace edgemoe {
namespace {

struct NamedPredictor {
    const char * name;
    std::unique_ptr<Predictor> (*make)(PredictorShape shape);
};

constexpr std::array kPredictors = {
    NamedPredictor{"popularity", make_popularity},       NamedPredictor{"previous-token", make_previous_token},
    NamedPredictor{"path", make_path_statistic},         NamedPredictor{"router", make_router_look_ahead},
    NamedPredictor{"router+path", make_router_and_path}, NamedPredictor{"look-ahead", make_trained_look_ahead},
};

}  // namespace

std::unique_ptr<Predictor> make_predictor(const std::string & name, PredictorShape shape) {
    for (const NamedPredictor & predictor : kPredictors) {
        if (name == predictor.name) {
            return predictor.make(shape);
        }
    }
    return nullptr;
}

std::vector<std::string> predictor_names() {
    std::vector<std::string> names;
    for (const NamedPredictor & predictor : kPredictors) {
        names.emplace_back(predictor.name);
    }
    return names;
}

void most_likely(const float * scores, size_t n_experts, size_t n, std::vector<int32_t> * experts) {
    experts->resize(n_experts);
    std::iota(experts->begin(), experts->end(), 0);
    const size_t n_kept = std::min(n, n_experts);
    std::partial_sort(experts->begin(), experts->begin() + static_cast<std::ptrdiff_t>(n_kept), experts->end(),
                      [scores](int32_t a, int32_t b) {
                          const float left = scores[a], right = scores[b];
                          return left > right || (left == right && a < b);
                      });
    experts->resize(n_kept);
}

void softmax(float * logits, size_t n) {
    const float greatest = *std::max_element(logits, logits + n);
    float sum = 0;
    for (size_t i = 0; i < n; i++) {
        logits[i] = std::exp(logits[i] - greatest);
        sum += logits[i];
    }
    for (size_t i = 0; i < n; i++) {
        logits[i] /= sum;
    }
}

void chosen_probabilities(float * logits, size_t n_experts, size_t n_chosen) {
    softmax(logits, n_experts);
    for (size_t i = 0; i < n_experts; i++) {
        logits[i] = std::min(1.0F, static_cast<float>(n_chosen) * logits[i]);
    }
}

}  // namespace edgemoe
