// For each model given: what the activation capture says of its experts against what the graph itself computes. One
// line of JSON a model: how many layers there are and were seen, whether down's input is understood, and the largest
// relative error of the inputs of up and down as they are computed again from the spilled activations.
#include "backend/expert_buffer_type.h"
#include "engine/activation_capture.h"
#include "engine/expert_inputs.h"
#include "engine/window_evaluator.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

namespace edgemoe {
namespace {

constexpr int32_t kTokens = 48;

// The inputs of one product, by routed expert: [n_tokens, n_used, columns].
struct SeenInputs {
    std::vector<float> rows;
    std::vector<int32_t> ids;
    int64_t columns = 0, n_used = 0;
};

class Observer {
public:
    Observer(ActivationSpill & spill, const std::string & architecture) : capture_(spill, architecture) {}

    static bool observe(ggml_tensor * node, bool ask, void * self) {
        auto & observer = *static_cast<Observer *>(self);
        const bool wanted = ActivationCapture::observe(node, ask, &observer.capture_);
        int32_t layer = -1;
        Projection projection = Projection::kGate;
        const bool product =
            node->op == GGML_OP_MUL_MAT_ID && parse_expert_tensor_name(node->src[0]->name, &layer, &projection);
        if (product && !ask) {
            SeenInputs & seen = (projection == Projection::kDown ? observer.down : observer.input)[layer];
            seen.columns = node->src[1]->ne[0];
            seen.n_used = node->src[2]->ne[0];
            seen.rows.clear();
            seen.ids.clear();
            for (int64_t token = 0; token < node->src[2]->ne[1]; token++) {
                for (int64_t k = 0; k < seen.n_used; k++) {
                    const auto * row = reinterpret_cast<const float *>(
                        static_cast<const char *>(node->src[1]->data) +
                        static_cast<size_t>(node->src[1]->ne[1] == 1 ? 0 : k) * node->src[1]->nb[1] +
                        static_cast<size_t>(token) * node->src[1]->nb[2]);
                    seen.rows.insert(seen.rows.end(), row, row + seen.columns);
                    seen.ids.push_back(
                        *reinterpret_cast<const int32_t *>(static_cast<const char *>(node->src[2]->data) +
                                                           static_cast<size_t>(token) * node->src[2]->nb[1] +
                                                           static_cast<size_t>(k) * node->src[2]->nb[0]));
                }
            }
        }
        return ask ? wanted || product : true;
    }

    ActivationCapture & capture() { return capture_; }
    std::map<int32_t, SeenInputs> input, down;

private:
    ActivationCapture capture_;
};

// The largest error of any expert's inputs, relative to their size; negative: other tokens than the graph's.
double relative_error(ExpertInputReader & reader, const LayerActivations & activations, Projection projection,
                      const SeenInputs & seen) {
    double worst = 0;
    for (int32_t expert = 0; expert < activations.shape.n_experts; expert++) {
        const Result<ExpertInputs> inputs = reader.read(activations, expert, projection);
        if (!inputs.is_ok()) {
            return -1;
        }
        double error = 0, size = 0;
        size_t found = 0;
        for (size_t slot = 0; slot < seen.ids.size(); slot++) {
            if (seen.ids[slot] != expert) {
                continue;
            }
            if (found >= inputs.value().tokens.size() ||
                inputs.value().tokens[found] != static_cast<int32_t>(slot) / seen.n_used) {
                return -1;
            }
            for (int64_t c = 0; c < seen.columns; c++) {
                const double expected = seen.rows[slot * static_cast<size_t>(seen.columns) + static_cast<size_t>(c)];
                const double got =
                    inputs.value().inputs[found * static_cast<size_t>(seen.columns) + static_cast<size_t>(c)];
                error += (expected - got) * (expected - got);
                size += expected * expected;
            }
            found++;
        }
        if (found != inputs.value().tokens.size()) {
            return -1;
        }
        worst = std::max(worst, size > 0 ? std::sqrt(error / size) : error);
    }
    return worst;
}

Status check(const std::string & path) {
    LoadOptions options;
    options.n_threads = 1;
    options.memory_bytes = uint64_t{4} << 30;
    Result<std::unique_ptr<Model>> loaded = Model::load(path, window_options(options, kTokens, kTokens));
    if (!loaded.is_ok()) {
        return loaded.status();
    }
    Model & model = *loaded.value();
    const GgufSource & source = model.source();
    SpillShape shape;
    shape.n_tokens = kTokens;
    for (const ExpertLayer & layer : source.experts().layers()) {
        const ExpertParts & parts = layer.experts.front();
        const ExpertPart & up = parts[static_cast<size_t>(Projection::kUp)];
        const ExpertPart & first = up.present ? up : parts[static_cast<size_t>(Projection::kGateUp)];
        shape.layers.push_back({layer.layer, static_cast<int32_t>(first.columns),
                                static_cast<int32_t>(layer.experts.size()), source.experts().n_experts_used()});
    }
    const std::string spill_path = path + ".activations";
    Result<std::unique_ptr<ActivationSpill>> spill = ActivationSpill::open(spill_path, shape);
    if (!spill.is_ok()) {
        return spill.status();
    }
    Observer observer(*spill.value(), source.architecture());
    Result<std::unique_ptr<WindowEvaluator>> evaluator = WindowEvaluator::create(model, Observer::observe, &observer);
    if (!evaluator.is_ok()) {
        return evaluator.status();
    }
    std::vector<int32_t> tokens;
    for (int32_t i = 0; i < kTokens; i++) {
        tokens.push_back((37 * i + 11) % evaluator.value()->n_vocab());
    }
    evaluator.value()->begin_window();
    observer.capture().begin_batch(0, kTokens);
    Status status = evaluator.value()->append(tokens.data(), kTokens, 0);
    if (status.is_ok()) {
        status = observer.capture().end_batch();
    }
    if (status.is_ok()) {
        status = spill.value()->advance(kTokens);
    }
    double input_error = 0, down_error = 0;
    size_t n_seen = 0, n_known = 0;
    bool weights_first = false;
    std::string refusal;
    ExpertInputReader reader(source, 1);
    for (size_t i = 0; i < shape.layers.size() && status.is_ok(); i++) {
        const Result<LayerActivations> layer = spill.value()->read_layer(i);
        if (!layer.is_ok()) {
            status = layer.status();
            break;
        }
        const LayerFacts & facts = layer.value().facts;
        if (!facts.seen) {
            continue;
        }
        n_seen++;
        weights_first = facts.weights_before_experts;
        const auto worse = [](double a, double b) { return a < 0 || b < 0 ? -1 : std::max(a, b); };
        const int32_t number = shape.layers[i].layer;
        input_error =
            worse(input_error, relative_error(reader, layer.value(), Projection::kUp, observer.input[number]));
        if (facts.chain.known()) {
            n_known++;
            down_error =
                worse(down_error, relative_error(reader, layer.value(), Projection::kDown, observer.down[number]));
        } else {
            refusal = facts.chain.refusal;
        }
    }
    ActivationSpill::remove(spill_path);
    if (status.is_ok()) {
        std::printf(
            "{\"architecture\": \"%s\", \"layers\": %zu, \"seen\": %zu, \"known\": %zu, \"weights_first\": %s, "
            "\"input_error\": %.3g, \"down_error\": %.3g, \"refusal\": \"%s\"}\n",
            source.architecture().c_str(), shape.layers.size(), n_seen, n_known, weights_first ? "true" : "false",
            input_error, down_error, refusal.c_str());
    }
    return status;
}

}  // namespace
}  // namespace edgemoe

int main(int argc, char ** argv) {
    int failed = 0;
    for (int i = 1; i < argc; i++) {
        const edgemoe::Status status = edgemoe::check(argv[i]);
        if (!status.is_ok()) {
            std::fprintf(stderr, "%s: %s\n", argv[i], status.message().c_str());
            failed = 1;
        }
    }
    return failed;
}
