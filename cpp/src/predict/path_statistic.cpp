// The EdgeMoE paper's statistic (arXiv 2308.14352, section 3.3): how likely the target's experts are, given the experts
// of the two layers before. The paper's models choose one expert a layer, so that its table has a cell for each pair;
// with several chosen out of many, pairs are seen too rarely. Here each chosen expert of the two layers is evidence by
// itself (naive Bayes):
//
//     score(e) = log P(e) + w * sum over chosen experts c of log(P(e | c) / P(e))
//
// P(e | c): of the tokens that chose c, the share whose target chose e; both counted with kPrior tokens more that chose
// e as often as all do. w = 1 / experts chosen a layer, since experts that are chosen together say the same.
#include "predict/predictors.h"

#include <cmath>

namespace edgemoe {
namespace {

constexpr float kPrior = 8;

class PathStatistic final : public Predictor {
public:
    explicit PathStatistic(PredictorShape shape)
        : n_experts_(static_cast<size_t>(shape.n_experts)),
          totals_(n_experts_, 0.0F),
          present_(static_cast<size_t>(shape.n_present), n_experts_),
          before_(static_cast<size_t>(shape.n_before), n_experts_) {}

    bool score(const PredictionInput & input, float * scores) override {
        if (n_tokens_ == 0) {
            return false;
        }
        // P(e), with one token more that chose all alike, so that none is 0.
        prior_.resize(n_experts_);
        for (size_t e = 0; e < n_experts_; e++) {
            prior_[e] = (totals_[e] + 1.0F / static_cast<float>(n_experts_)) / (n_tokens_ + 1.0F);
            scores[e] = std::log(prior_[e]);
        }
        present_.add_evidence(input.present, prior_, scores);
        before_.add_evidence(input.before, prior_, scores);
        return true;
    }

    void learn(const PredictionInput & input, ChosenExperts chosen) override {
        n_tokens_ += 1.0F;
        for_each_expert(chosen, [this](size_t expert) { totals_[expert] += 1.0F; });
        present_.count(input.present, chosen);
        before_.count(input.before, chosen);
    }

private:
    // Of one of the two layers.
    class Table {
    public:
        Table(size_t n_from, size_t n_to) : n_to_(n_to), tokens_(n_from, 0.0F), pairs_(n_from * n_to, 0.0F) {}

        void count(ChosenExperts from, ChosenExperts to) {
            for_each_expert(from, [&](size_t c) {
                tokens_[c] += 1.0F;
                float * row = pairs_.data() + c * n_to_;
                for_each_expert(to, [row](size_t e) { row[e] += 1.0F; });
            });
        }

        void add_evidence(ChosenExperts from, const std::vector<float> & prior, float * scores) const {
            for_each_expert(from, [&](size_t c) {
                const float * row = pairs_.data() + c * n_to_;
                const float total = tokens_[c] + kPrior;
                for (size_t e = 0; e < n_to_; e++) {
                    const float conditional = (row[e] + kPrior * prior[e]) / total;
                    scores[e] += std::log(conditional / prior[e]) / static_cast<float>(from.n);
                }
            });
        }

    private:
        size_t n_to_;
        std::vector<float> tokens_;  // [n_from]
        std::vector<float> pairs_;   // [n_from, n_to]
    };

    size_t n_experts_;
    float n_tokens_ = 0;
    std::vector<float> totals_;  // [n_experts]
    std::vector<float> prior_;   // scratch of score()
    Table present_;
    Table before_;
};

}  // namespace

std::unique_ptr<Predictor> make_path_statistic(PredictorShape shape) {
    return std::make_unique<PathStatistic>(shape);
}

}  // namespace edgemoe
