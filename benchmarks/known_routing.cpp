// What reading ahead could gain at most, and what it costs at least: decodes a text twice, and the second time the
// predictor knows (or, to see what wrong forecasts cost, is always wrong about) what the routers will choose, from the
// trace of the first. Prints one JSON object.
//
//     known_routing MODEL TEXT --expert-cache BYTES [--tokens N] [--threads N] [--prefetch off|auto|always]
//                   [--forecast right|wrong|none] [--distance LAYERS] [--io ENGINE] [--turn N] [--profile FILE]
//
// With a profile, experts are evicted by the next use that its maps tell; they forecast nothing.
// As in edgemoe_worker.py, N tokens warm the cache and the N after them count, and with --turn it waits for its turn
// (turns.py) before every N tokens, of which those of the first 0.1 s have no part in the speed.
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "backend/layer_predictor.h"
#include "engine/map_file.h"
#include "engine/map_predictor.h"
#include "engine/model.h"
#include "engine/session.h"
#include "llama.h"
#include "simulate/trace.h"
#include "store/expert_store.h"

namespace {

using edgemoe::ExpertForecast;
using edgemoe::Result;
using edgemoe::RoutingTrace;
using edgemoe::Status;
using edgemoe::StatusCode;

struct Arguments {
    std::string model, text;
    std::string forecast = "right";
    int32_t n_tokens = 128;
    int32_t distance = 1;  // layers that are named in advance
    int32_t turn = 0;      // tokens; 0: not in turns
    edgemoe::LoadOptions load;
};

// Names what the trace has for the coming layers, or as many others.
class KnownRouting : public edgemoe::LayerPredictor {
public:
    // `maps` score the next use; may be empty.
    KnownRouting(const RoutingTrace & trace, bool is_right, int32_t distance, edgemoe::ExpertMaps maps)
        : trace_(trace), is_right_(is_right), distance_(distance), scores_(std::move(maps), false) {}

    void predict(int32_t layer, const float * ffn_input, const int32_t * ids, const float * weights, int n_ids,
                 edgemoe::ExpertStore & store) override {
        scores_.predict(layer, ffn_input, ids, weights, n_ids, store);
        if (step_ >= trace_.steps.size()) {
            return;
        }
        const std::vector<edgemoe::TraceLayer> & layers = trace_.steps[step_].layers;
        const auto is_layer = [&](const edgemoe::TraceLayer & one) { return one.layer == layer; };
        const auto found = std::find_if(layers.begin(), layers.end(), is_layer);
        const auto place = static_cast<size_t>(found - layers.begin());
        if (store.wants_forecasts()) {
            forecast(place, store);
        }
        if (place + 1 >= layers.size()) {
            step_++;
        }
    }

private:
    // What comes after the layer that is `place`th in this step.
    void forecast(size_t place, edgemoe::ExpertStore & store) {
        forecasts_.clear();
        size_t step = step_;
        for (int32_t distance = 1; distance <= distance_ && step < trace_.steps.size(); distance++) {
            place++;
            if (place >= trace_.steps[step].layers.size()) {
                place = 0;
                step++;
            }
            if (step < trace_.steps.size()) {
                name(trace_.steps[step].layers[place], distance);
            }
        }
        store.forecast(forecasts_);
    }

    void name(const edgemoe::TraceLayer & layer, int32_t distance) {
        const std::vector<int32_t> & chosen = layer.experts;
        if (is_right_) {
            for (const int32_t expert : chosen) {
                forecasts_.push_back({{layer.layer, expert}, 1.0F, distance});
            }
            return;
        }
        size_t named = 0;
        for (int32_t expert = 0; expert < trace_.shape.n_experts && named < chosen.size(); expert++) {
            // Others each time, as a real predictor's mistakes would be.
            const auto other = static_cast<int32_t>((static_cast<size_t>(expert) + 7 * step_) %
                                                    static_cast<size_t>(trace_.shape.n_experts));
            if (std::find(chosen.begin(), chosen.end(), other) == chosen.end()) {
                forecasts_.push_back({{layer.layer, other}, 1.0F, distance});
                named++;
            }
        }
    }

    const RoutingTrace & trace_;
    const bool is_right_;
    const int32_t distance_;
    edgemoe::MapPredictor scores_;
    size_t step_ = 0;
    std::vector<ExpertForecast> forecasts_;
};

[[noreturn]] void fail(const std::string & message) {
    std::fprintf(stderr, "known_routing: %s\n", message.c_str());
    std::exit(1);
}

void check(const Status & status) {
    if (!status.is_ok()) {
        fail(status.message());
    }
}

Arguments parse(int argc, char ** argv) {
    Arguments arguments;
    std::vector<std::string> places;
    const std::map<std::string, edgemoe::Prefetch> settings = {
        {"off", edgemoe::Prefetch::kOff}, {"auto", edgemoe::Prefetch::kAuto}, {"always", edgemoe::Prefetch::kAlways}};
    arguments.load.prefetch = edgemoe::Prefetch::kAuto;
    arguments.load.prewarm = edgemoe::Toggle::kOff;
    for (int i = 1; i < argc; i++) {
        const std::string name = argv[i];
        if (name.rfind("--", 0) != 0) {
            places.push_back(name);
            continue;
        }
        if (i + 1 >= argc) {
            fail(name + " wants a value");
        }
        const std::string value = argv[++i];
        if (name == "--expert-cache") {
            arguments.load.expert_cache_bytes = std::strtoull(value.c_str(), nullptr, 10);
        } else if (name == "--tokens") {
            arguments.n_tokens = std::atoi(value.c_str());
        } else if (name == "--threads") {
            arguments.load.n_threads = std::atoi(value.c_str());
        } else if (name == "--distance") {
            arguments.distance = std::atoi(value.c_str());
        } else if (name == "--turn") {
            arguments.turn = std::atoi(value.c_str());
        } else if (name == "--forecast") {
            arguments.forecast = value;
        } else if (name == "--profile") {
            arguments.load.profile = value;
        } else if (name == "--io") {
            arguments.load.io = value;
        } else if (name == "--prefetch" && settings.count(value) != 0) {
            arguments.load.prefetch = settings.at(value);
        } else {
            fail("not understood: " + name + " " + value);
        }
    }
    if (places.size() != 2 || arguments.load.expert_cache_bytes == 0 || arguments.n_tokens < 1) {
        fail(
            "usage: known_routing MODEL TEXT --expert-cache BYTES [options]; they are at the top of known_routing.cpp");
    }
    arguments.model = places[0];
    arguments.text = places[1];
    arguments.load.n_ctx = static_cast<uint32_t>(std::max(512, arguments.n_tokens));
    return arguments;
}

std::vector<int32_t> tokenize(const llama_vocab * vocab, const std::string & path, size_t n_tokens) {
    std::ifstream file(path, std::ios::binary);
    const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    std::vector<int32_t> tokens(text.size() + 8);
    const int32_t n = llama_tokenize(vocab, text.data(), static_cast<int32_t>(text.size()), tokens.data(),
                                     static_cast<int32_t>(tokens.size()), true, false);
    if (n < static_cast<int32_t>(n_tokens)) {
        fail(path + ": " + std::to_string(n) + " tokens, and " + std::to_string(n_tokens) + " are needed");
    }
    tokens.resize(n_tokens);
    return tokens;
}

// Says that this program waits, and returns when it may go on.
void wait_for_turn() {
    std::printf("turn\n");
    std::fflush(stdout);
    for (int c = 0; c != '\n';) {
        c = std::getchar();
        if (c == EOF) {
            fail("nobody gives turns any more");
        }
    }
}

// Tokens per second for a text of its own: nothing precedes it. In turns, the median of these.
double decode(edgemoe::Session & session, const int32_t * tokens, int32_t n_tokens, int32_t turn,
              std::vector<float> & logits) {
    using Clock = std::chrono::steady_clock;
    using Seconds = std::chrono::duration<double>;
    const Seconds unsettled(turn > 0 ? 0.1 : 0.0);
    check(session.reset(-1));
    const int32_t length = turn > 0 ? turn : n_tokens;
    std::vector<double> speeds;
    for (int32_t first = 0; first < n_tokens; first += length) {
        if (turn > 0) {
            wait_for_turn();
        }
        const Clock::time_point began = Clock::now();
        Clock::time_point settled = began;
        Clock::time_point end = began;
        int32_t n_counted = 0;
        for (int32_t i = first; i < std::min(first + length, n_tokens); i++) {
            check(session.decode(tokens + i, nullptr, 1, logits.data()));
            end = Clock::now();
            if (settled - began < unsettled) {
                settled = end;
            } else {
                n_counted++;
            }
        }
        if (n_counted > 0) {
            speeds.push_back(n_counted / Seconds(end - settled).count());
        }
    }
    if (speeds.empty()) {
        fail("turns of " + std::to_string(turn) + " tokens are over before anything is measured: ask for longer ones");
    }
    std::sort(speeds.begin(), speeds.end());
    return (speeds[(speeds.size() - 1) / 2] + speeds[speeds.size() / 2]) / 2;
}

struct Loaded {
    std::unique_ptr<edgemoe::Model> model;
    std::unique_ptr<edgemoe::Session> session;
};

Loaded load(const Arguments & arguments, edgemoe::Prefetch prefetch) {
    edgemoe::LoadOptions options = arguments.load;
    options.prefetch = prefetch;
    Loaded loaded;
    Result<std::unique_ptr<edgemoe::Model>> model = edgemoe::Model::load(arguments.model, options);
    check(model.status());
    loaded.model = std::move(model).value();
    Result<std::unique_ptr<edgemoe::Session>> session = edgemoe::Session::create(*loaded.model);
    check(session.status());
    loaded.session = std::move(session).value();
    return loaded;
}

// What the routers choose for the two halves of `tokens`.
RoutingTrace record(const Arguments & arguments, std::vector<int32_t> * tokens, std::vector<float> * logits) {
    const Loaded loaded = load(arguments, edgemoe::Prefetch::kOff);
    const int32_t n = arguments.n_tokens;
    *tokens = tokenize(loaded.model->vocab(), arguments.text, 2 * static_cast<size_t>(n));
    logits->resize(static_cast<size_t>(llama_vocab_n_tokens(loaded.model->vocab())));
    const std::string path =
        (std::filesystem::temp_directory_path() / ("known_routing." + std::to_string(::getpid()) + ".csv")).string();
    check(loaded.model->start_recording(path));
    loaded.model->set_recorded_phase(edgemoe::TracePhase::kDecode);
    decode(*loaded.session, tokens->data(), n, 0, *logits);
    decode(*loaded.session, tokens->data() + n, n, 0, *logits);
    check(loaded.model->stop_recording());
    Result<RoutingTrace> trace = edgemoe::read_trace_file(path);
    std::remove(path.c_str());
    check(trace.status());
    return std::move(trace).value();
}

void run(const Arguments & arguments) {
    llama_log_set([](ggml_log_level, const char *, void *) {}, nullptr);
    std::vector<int32_t> tokens;
    std::vector<float> logits;
    const RoutingTrace trace = record(arguments, &tokens, &logits);
    const int32_t n = arguments.n_tokens;

    // Loaded anew, so that the scheduler has seen no tokens without forecasts.
    edgemoe::ExpertMaps maps;
    if (!arguments.load.profile.empty()) {
        Result<edgemoe::ExpertMaps> read =
            edgemoe::read_maps(arguments.load.profile, edgemoe::kProfilePrefix, edgemoe::MapContent::kWeights);
        check(read.status());
        maps = std::move(read).value();
    }
    KnownRouting predictor(trace, arguments.forecast == "right", arguments.distance, std::move(maps));
    const Loaded loaded = load(arguments, arguments.load.prefetch);
    edgemoe::Model & model = *loaded.model;
    model.set_predictor(arguments.forecast == "none" ? nullptr : &predictor);
    decode(*loaded.session, tokens.data(), n, arguments.turn, logits);
    const edgemoe::StreamStats before = model.store()->stats();
    const double speed = decode(*loaded.session, tokens.data() + n, n, arguments.turn, logits);
    const edgemoe::StreamStats span = difference(model.store()->stats(), before);
    model.set_predictor(nullptr);
    std::printf(
        "{\"tokens_per_second\": %.4f, \"read_bytes_per_token\": %.1f, \"read_ahead_bytes_per_token\": %.1f, "
        "\"useful_bytes_per_token\": %.1f, \"stall_seconds_per_token\": %.7f}\n",
        speed, static_cast<double>(span.read_bytes) / n, static_cast<double>(span.prefetch.read_ahead_bytes) / n,
        static_cast<double>(span.prefetch.useful_bytes) / n, span.stall_seconds / n);
}

}  // namespace

int main(int argc, char ** argv) {
    run(parse(argc, argv));
    return 0;
}
