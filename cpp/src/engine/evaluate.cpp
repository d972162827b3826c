// Windows, scored positions and standard errors are those of llama.cpp's tools/perplexity/perplexity.cpp (functions
// perplexity and kl_divergence), but for the base model's probabilities, which are not rounded to 16 bits here.
#include "engine/evaluate.h"

#include "base/parallel_for.h"
#include "engine/log.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace edgemoe {

namespace {

struct Distribution {
    int32_t likeliest = 0;
    double log_sum = 0;  // log of the sum of exp(logit)
};

Distribution distribution_of(const float * logits, int32_t n_vocab) {
    Distribution result;
    result.likeliest = static_cast<int32_t>(std::max_element(logits, logits + n_vocab) - logits);
    const float most = logits[result.likeliest];
    double sum = 0;
    for (int32_t i = 0; i < n_vocab; i++) {
        sum += std::exp(logits[i] - most);
    }
    result.log_sum = static_cast<double>(most) + std::log(sum);
    return result;
}

// KL(base || model): sum over the vocabulary of p_base * (log p_base - log p).
double divergence(const float * base, const Distribution & of_base, const float * model, const Distribution & of_model,
                  int32_t n_vocab) {
    const auto shift = static_cast<float>(of_base.log_sum);
    const double log_ratio = of_model.log_sum - of_base.log_sum;
    double sum = 0;
    for (int32_t i = 0; i < n_vocab; i++) {
        sum += std::exp(base[i] - shift) * (static_cast<double>(base[i]) - static_cast<double>(model[i]) + log_ratio);
    }
    return sum;
}

double mean_error(double sum, double sum_of_squares, uint64_t n) {
    const double count = static_cast<double>(n);
    const double variance = sum_of_squares / count - sum / count * (sum / count);
    return n > 1 && variance > 0 ? std::sqrt(variance / (count - 1)) : 0;
}

// What two models need in one process, their expert caches aside.
uint64_t fixed_bytes(const MemoryPlan & model, const MemoryPlan & base) {
    return model.fixed_bytes() + base.fixed_bytes() - base.process_bytes;
}

// What the expert caches of two models get of one ceiling: all experts of both, or in proportion to what each lacks.
Status share_memory(const Model::Description & model, const Model::Description & base, const LoadOptions & options,
                    LoadOptions * for_model, LoadOptions * for_base) {
    if (options.expert_cache_bytes != 0) {
        return Status::ok();
    }
    const uint64_t ceiling = memory_ceiling(options, model.plan.process_bytes);
    const uint64_t fixed = fixed_bytes(model.plan, base.plan);
    const uint64_t least = model.plan.least_cache_bytes + base.plan.least_cache_bytes;
    if (ceiling < fixed + least) {
        return Status(StatusCode::kOutOfBudget, model.source->path() + " and " + base.source->path() +
                                                    ": do not run together in " + mebibytes(ceiling) +
                                                    "; the least is " + mebibytes(fixed + least));
    }
    const uint64_t most = model.plan.expert_bytes + base.plan.expert_bytes;
    const double share =
        most > least ? std::min(1.0, static_cast<double>(ceiling - fixed - least) / static_cast<double>(most - least))
                     : 1.0;
    const auto cache_bytes = [share](const MemoryPlan & plan) {
        const auto rest = static_cast<double>(plan.expert_bytes - plan.least_cache_bytes);
        return std::max<uint64_t>(1, plan.least_cache_bytes + static_cast<uint64_t>(share * rest));
    };
    for_model->expert_cache_bytes = cache_bytes(model.plan);
    for_base->expert_cache_bytes = cache_bytes(base.plan);
    return Status::ok();
}

LoadOptions load_options(const EvaluateOptions & options) {
    return window_options(options.load, options.n_ctx, options.n_ctx - options.n_ctx / 2);
}

struct LoadedModels {
    std::unique_ptr<Model> model, base;  // base: nullptr without one
};

Result<LoadedModels> load_models(const std::string & model, const std::string & base, const LoadOptions & options,
                                 const JobProgress & progress) {
    LoadOptions for_model = options, for_base = options;
    if (!base.empty()) {
        Result<Model::Description> of_model = Model::describe(model, options);
        if (!of_model.is_ok()) {
            return of_model.status();
        }
        Result<Model::Description> of_base = Model::describe(base, options);
        if (!of_base.is_ok()) {
            return of_base.status();
        }
        const Status status = share_memory(of_model.value(), of_base.value(), options, &for_model, &for_base);
        if (!status.is_ok()) {
            return status;
        }
    }
    LoadedModels loaded;
    for (const bool is_base : {true, false}) {
        if (is_base && base.empty()) {
            continue;
        }
        ProgressMeter meter(progress, is_base ? "loading the base model" : "loading");
        LoadOptions & own = is_base ? for_base : for_model;
        own.progress = [&meter](float fraction) { return meter.report(fraction); };
        Result<std::unique_ptr<Model>> one = Model::load(is_base ? base : model, own);
        if (!one.is_ok()) {
            return one.status();
        }
        (is_base ? loaded.base : loaded.model) = std::move(one).value();
    }
    return loaded;
}

}  // namespace

void EvaluationSum::add(const std::vector<const float *> & logits, const std::vector<const float *> & base,
                        const std::vector<int32_t> & targets, int32_t n_vocab, int n_threads) {
    struct Score {
        double nll, base_nll, kl;
        bool agrees;
    };
    std::vector<Score> scores(targets.size());
    parallel_for(static_cast<int64_t>(targets.size()), n_threads, [&](int64_t i) {
        const auto token = static_cast<size_t>(i);
        Score & score = scores[token];
        const Distribution own = distribution_of(logits[token], n_vocab);
        score = {own.log_sum - static_cast<double>(logits[token][targets[token]]), 0, 0, false};
        if (!base.empty()) {
            const Distribution other = distribution_of(base[token], n_vocab);
            score.base_nll = other.log_sum - static_cast<double>(base[token][targets[token]]);
            score.kl = divergence(base[token], other, logits[token], own, n_vocab);
            score.agrees = own.likeliest == other.likeliest;
        }
    });
    // In order, so that the sums do not depend on the threads.
    for (const Score & score : scores) {
        n_++;
        nll_ += score.nll;
        nll2_ += score.nll * score.nll;
        base_nll_ += score.base_nll;
        kl_ += score.kl;
        kl2_ += score.kl * score.kl;
        n_agree_ += score.agrees ? 1 : 0;
    }
    has_base_ = has_base_ || !base.empty();
}

Evaluation EvaluationSum::result() const {
    Evaluation result;
    result.tokens = n_;
    if (n_ == 0) {
        return result;
    }
    const auto n = static_cast<double>(n_);
    result.perplexity = std::exp(nll_ / n);
    result.perplexity_error = result.perplexity * mean_error(nll_, nll2_, n_);
    if (has_base_) {
        result.base_perplexity = std::exp(base_nll_ / n);
        result.kl_divergence = kl_ / n;
        result.kl_divergence_error = mean_error(kl_, kl2_, n_);
        result.argmax_agreement = static_cast<double>(n_agree_) / n;
    }
    return result;
}

Status score_windows(const std::vector<int32_t> & tokens, int32_t n_ctx, WindowEvaluator & evaluator,
                     ProgressMeter & meter, const ScoreBatch & score) {
    const int32_t n_windows = static_cast<int32_t>(tokens.size()) / n_ctx;
    const int32_t first = n_ctx / 2;
    evaluator.set_poll([&meter] { return meter.poll(); });
    Status status;
    std::vector<int32_t> rows, targets;
    for (int32_t window = 0; window < n_windows && status.is_ok(); window++) {
        const int32_t * text = tokens.data() + static_cast<size_t>(window) * static_cast<size_t>(n_ctx);
        evaluator.begin_window();
        for (int32_t begin = 0; begin < n_ctx && status.is_ok(); begin += evaluator.batch_size()) {
            const int32_t n = std::min(evaluator.batch_size(), n_ctx - begin);
            status = evaluator.append(text + begin, n, std::clamp(first - begin, 0, n));
            if (!status.is_ok()) {
                break;
            }
            rows.clear();
            targets.clear();
            for (int32_t i = std::max(0, first - begin); i < n && begin + i + 1 < n_ctx; i++) {
                rows.push_back(i);
                targets.push_back(text[begin + i + 1]);
            }
            status = score({text + begin, n, begin, std::clamp(first - begin, 0, n)}, rows, targets);
            const double done = window + static_cast<double>(begin + n) / n_ctx;
            if (status.is_ok() && !meter.report(done / n_windows)) {
                status = Status(StatusCode::kCancelled, "cancelled");
            }
        }
    }
    evaluator.set_poll({});
    return status;
}

namespace {

// `tokens_of`: what is evaluated, once the model is there.
Result<Evaluation> evaluate_windows(const std::string & model, const std::string & base,
                                    const std::function<Result<std::vector<int32_t>>(const Model &)> & tokens_of,
                                    const EvaluateOptions & options, const JobProgress & progress) {
    if (options.n_ctx < 4) {
        return Status(StatusCode::kInvalidArgument,
                      "a window of " + std::to_string(options.n_ctx) + " tokens is too small; give at least 4");
    }
    const LoadOptions load = load_options(options);
    Result<LoadedModels> loaded = load_models(model, base, load, progress);
    if (!loaded.is_ok()) {
        return loaded.status();
    }
    Model & own = *loaded.value().model;
    Model * other = loaded.value().base.get();
    Result<std::vector<int32_t>> tokens = tokens_of(own);
    if (!tokens.is_ok()) {
        return tokens.status();
    }
    Result<std::unique_ptr<WindowEvaluator>> evaluator = WindowEvaluator::create(own, nullptr, nullptr);
    if (!evaluator.is_ok()) {
        return evaluator.status();
    }
    std::unique_ptr<WindowEvaluator> base_evaluator;
    if (other != nullptr) {
        if (llama_vocab_n_tokens(other->vocab()) != llama_vocab_n_tokens(own.vocab())) {
            return Status(StatusCode::kInvalidArgument,
                          model + " and " + base + ": have different vocabularies (" +
                              std::to_string(llama_vocab_n_tokens(own.vocab())) + " and " +
                              std::to_string(llama_vocab_n_tokens(other->vocab())) + " tokens)");
        }
        Result<std::unique_ptr<WindowEvaluator>> created = WindowEvaluator::create(*other, nullptr, nullptr);
        if (!created.is_ok()) {
            return created.status();
        }
        base_evaluator = std::move(created).value();
    }
    EvaluationSum sum;
    ProgressMeter meter(progress, "evaluating");
    if (base_evaluator != nullptr) {
        base_evaluator->set_poll([&meter] { return meter.poll(); });
    }
    std::vector<const float *> logits, base_logits;
    const Status status = score_windows(
        tokens.value(), static_cast<int32_t>(options.n_ctx), *evaluator.value(), meter,
        [&](const WindowBatch & batch, const std::vector<int32_t> & rows, const std::vector<int32_t> & targets) {
            if (base_evaluator != nullptr) {
                if (batch.position == 0) {
                    base_evaluator->begin_window();
                }
                const Status appended = base_evaluator->append(batch.tokens, batch.n_tokens, batch.first_output);
                if (!appended.is_ok()) {
                    return appended;
                }
            }
            logits.clear();
            base_logits.clear();
            for (int32_t row : rows) {
                logits.push_back(evaluator.value()->logits(row));
                if (base_evaluator != nullptr) {
                    base_logits.push_back(base_evaluator->logits(row));
                }
            }
            sum.add(logits, base_logits, targets, evaluator.value()->n_vocab(), own.n_threads());
            return Status::ok();
        });
    if (!status.is_ok()) {
        return status;
    }
    return sum.result();
}

}  // namespace

Status check_memory_with_base(const std::string & base, double expert_share, const EvaluateOptions & options) {
    if (options.load.expert_cache_bytes != 0) {
        return Status::ok();
    }
    const LoadOptions load = load_options(options);
    const Result<Model::Description> described = Model::describe(base, load);
    if (!described.is_ok()) {
        return described.status();
    }
    const MemoryPlan & plan = described.value().plan;
    const auto least_cache = static_cast<uint64_t>((1 + expert_share) * static_cast<double>(plan.least_cache_bytes));
    const uint64_t least = fixed_bytes(plan, plan) + least_cache;
    const uint64_t ceiling = memory_ceiling(load, plan.process_bytes);
    return ceiling >= least
               ? Status::ok()
               : Status(StatusCode::kOutOfBudget,
                        base + ": measuring how far the result is from it needs both in memory, which is " +
                            mebibytes(least) + " at least, not " + mebibytes(ceiling) + "; give it more memory");
}

Result<Evaluation> evaluate(const std::string & model, const std::string & base, const std::string & text,
                            const EvaluateOptions & options, const JobProgress & progress) {
    return evaluate_windows(
        model, base, [&](const Model & loaded) { return window_tokens(loaded, text, options.n_ctx, options.n_tokens); },
        options, progress);
}

Result<Evaluation> evaluate_tokens(const std::string & model, const std::string & base,
                                   const std::vector<int32_t> & tokens, const EvaluateOptions & options,
                                   const JobProgress & progress) {
    if (tokens.size() < options.n_ctx) {
        return Status(
            StatusCode::kInvalidArgument,
            std::to_string(tokens.size()) + " tokens are less than a window of " + std::to_string(options.n_ctx));
    }
    return evaluate_windows(
        model, base, [&](const Model &) { return Result<std::vector<int32_t>>(tokens); }, options, progress);
}

}  // namespace edgemoe
