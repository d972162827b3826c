// What forecasts gain, in one process: a text is decoded in turns of a few tokens, with forecasts and without, the same
// cache going on through both. Turn by turn, since what a shared machine does to a process, and what sets one process
// apart from the next for as long as it lives, are larger than what is compared. Prints one JSON object: speeds and
// ratios by turns, medians and quartiles; bytes per token of all turns together.
//
//     known_routing MODEL TEXT --expert-cache BYTES [--tokens N] [--passes N] [--turn N] [--unsettled SECONDS]
//                   [--threads N] [--prefetch auto|always] [--forecast right|wrong|maps] [--distance LAYERS]
//                   [--io ENGINE] [--profile FILE]
//
// right: the predictor knows what the routers will choose, from a trace of the same text: what could be gained at most.
// wrong: it is always wrong about it: what forecasts cost at least. maps: the predictor of `edgemoe generate`. The
// default of --prefetch is always. With a profile, experts are evicted by the next use that its maps tell, in all
// turns.
//
// N tokens warm the cache, and --passes times the N after them are decoded, never the same again: a predictor remembers
// what a token was routed to. Of a turn, the first --unsettled seconds have no part in the speed: over so much a limit
// on the disk settles what the turn before it read.
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
#include "engine/map_predictor.h"
#include "engine/map_source.h"
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
    int32_t n_tokens = 512;
    int32_t n_passes = 2;
    int32_t distance = 1;  // layers that are named in advance
    int32_t turn = 64;     // tokens
    double unsettled_seconds = 0.1;
    edgemoe::LoadOptions load;
};

// Names what the trace has for the coming layers, or as many others, or what the maps say; in some turns nothing.
class Forecasts : public edgemoe::LayerPredictor {
public:
    // `maps` score the next use, all the time; may be empty.
    Forecasts(const Arguments & arguments, const RoutingTrace & trace, edgemoe::ExpertMaps maps)
        : trace_(trace),
          by_maps_(arguments.forecast == "maps"),
          is_right_(arguments.forecast == "right"),
          distance_(arguments.distance),
          maps_(std::move(maps), by_maps_) {}

    void set_on(bool is_on) {
        is_on_ = is_on;
        maps_.set_forecasts(by_maps_ && is_on);
    }
    // The token that comes is that of the trace's `step`.
    void go_to(size_t step) { step_ = step; }

    void begin_tokens(const int32_t * tokens, size_t n_tokens, edgemoe::ExpertStore & store) override {
        maps_.begin_tokens(tokens, n_tokens, store);
    }

    void pass_over(int32_t layer, const int32_t * ids, int n_tokens, int n_ids) override {
        maps_.pass_over(layer, ids, n_tokens, n_ids);
    }

    void predict(int32_t layer, const float * ffn_input, const int32_t * ids, const float * weights, int n_ids,
                 edgemoe::ExpertStore & store) override {
        maps_.predict(layer, ffn_input, ids, weights, n_ids, store);
        if (by_maps_ || step_ >= trace_.steps.size()) {
            return;
        }
        const std::vector<edgemoe::TraceLayer> & layers = trace_.steps[step_].layers;
        const auto is_layer = [&](const edgemoe::TraceLayer & one) { return one.layer == layer; };
        const auto found = std::find_if(layers.begin(), layers.end(), is_layer);
        const auto place = static_cast<size_t>(found - layers.begin());
        if (is_on_ && store.wants_forecasts()) {
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
    const bool by_maps_;
    const bool is_right_;
    const int32_t distance_;
    edgemoe::MapPredictor maps_;
    bool is_on_ = true;
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
    const std::map<std::string, edgemoe::Prefetch> settings = {{"auto", edgemoe::Prefetch::kAuto},
                                                               {"always", edgemoe::Prefetch::kAlways}};
    arguments.load.prefetch = edgemoe::Prefetch::kAlways;
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
        } else if (name == "--passes") {
            arguments.n_passes = std::atoi(value.c_str());
        } else if (name == "--unsettled") {
            arguments.unsettled_seconds = std::atof(value.c_str());
        } else if (name == "--threads") {
            arguments.load.n_threads = std::atoi(value.c_str());
        } else if (name == "--distance") {
            arguments.distance = std::atoi(value.c_str());
        } else if (name == "--turn") {
            arguments.turn = std::atoi(value.c_str());
        } else if (name == "--forecast" && (value == "right" || value == "wrong" || value == "maps")) {
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
    if (places.size() != 2 || arguments.load.expert_cache_bytes == 0 || arguments.n_tokens < 1 ||
        arguments.n_passes < 1 || arguments.turn < 1) {
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

// Tokens per second of each turn: with forecasts and without, as they followed each other.
struct Turns {
    std::vector<double> with, without;
};

void decode_in_turns(edgemoe::Session & session, const Arguments & arguments, const int32_t * tokens,
                     Forecasts * forecasts, std::vector<float> & logits, Turns * turns) {
    using Clock = std::chrono::steady_clock;
    using Seconds = std::chrono::duration<double>;
    check(session.reset(-1));
    // A pair in this order, the next one in the other: what changes steadily favours neither.
    int32_t number = 0;
    for (int32_t first = 0; first + arguments.turn <= arguments.n_tokens; first += arguments.turn, number++) {
        const bool is_on = number % 4 == 1 || number % 4 == 2;
        forecasts->set_on(is_on);
        const Clock::time_point began = Clock::now();
        Clock::time_point settled = began;
        Clock::time_point end = began;
        int32_t n_counted = 0;
        for (int32_t i = first; i < first + arguments.turn; i++) {
            check(session.decode(tokens + i, nullptr, 1, logits.data()));
            end = Clock::now();
            if (Seconds(settled - began).count() < arguments.unsettled_seconds) {
                settled = end;
            } else {
                n_counted++;
            }
        }
        if (n_counted == 0) {
            fail("turns of " + std::to_string(arguments.turn) +
                 " tokens are over before anything is measured: ask for longer ones");
        }
        (is_on ? turns->with : turns->without).push_back(n_counted / Seconds(end - settled).count());
    }
    const size_t n_pairs = std::min(turns->with.size(), turns->without.size());
    turns->with.resize(n_pairs);
    turns->without.resize(n_pairs);
}

// The value that `share` of `values` are below.
double quantile(std::vector<double> values, double share) {
    std::sort(values.begin(), values.end());
    const double place = share * static_cast<double>(values.size() - 1);
    const auto low = static_cast<size_t>(place);
    const size_t high = std::min(low + 1, values.size() - 1);
    return values[low] + (place - static_cast<double>(low)) * (values[high] - values[low]);
}

void decode(edgemoe::Session & session, const int32_t * tokens, int32_t n_tokens, std::vector<float> & logits) {
    check(session.reset(-1));
    for (int32_t i = 0; i < n_tokens; i++) {
        check(session.decode(tokens + i, nullptr, 1, logits.data()));
    }
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

// What the routers choose for the stretches of `tokens`: that which warms the cache, and one for each pass.
RoutingTrace record(const Arguments & arguments, std::vector<int32_t> * tokens, std::vector<float> * logits) {
    const Loaded loaded = load(arguments, edgemoe::Prefetch::kOff);
    const int32_t n = arguments.n_tokens;
    const int32_t n_stretches = 1 + arguments.n_passes;
    *tokens = tokenize(loaded.model->vocab(), arguments.text, static_cast<size_t>(n_stretches) * n);
    logits->resize(static_cast<size_t>(llama_vocab_n_tokens(loaded.model->vocab())));
    const std::string path =
        (std::filesystem::temp_directory_path() / ("known_routing." + std::to_string(::getpid()) + ".csv")).string();
    check(loaded.model->start_recording(path));
    loaded.model->set_recorded_phase(edgemoe::TracePhase::kDecode);
    for (int32_t stretch = 0; stretch < n_stretches; stretch++) {
        decode(*loaded.session, tokens->data() + stretch * n, n, *logits);
    }
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
    const Loaded loaded = load(arguments, arguments.load.prefetch);
    edgemoe::Model & model = *loaded.model;
    Result<edgemoe::ExpertMaps> maps = edgemoe::maps_for(model.source(), arguments.load, edgemoe::MapContent::kWeights);
    check(maps.status());
    Forecasts forecasts(arguments, trace, std::move(maps).value());
    model.set_predictor(&forecasts);
    decode(*loaded.session, tokens.data(), n, logits);
    Turns turns;
    const edgemoe::StreamStats before = model.store()->stats();
    for (int32_t pass = 1; pass <= arguments.n_passes; pass++) {
        forecasts.go_to(static_cast<size_t>(pass) * static_cast<size_t>(n));
        decode_in_turns(*loaded.session, arguments, tokens.data() + pass * n, &forecasts, logits, &turns);
    }
    const edgemoe::StreamStats span = difference(model.store()->stats(), before);
    model.set_predictor(nullptr);
    if (turns.with.empty()) {
        fail("fewer tokens than two turns");
    }
    std::vector<double> ratios;
    for (size_t i = 0; i < turns.with.size(); i++) {
        ratios.push_back(turns.with[i] / turns.without[i]);
    }
    const double n_decoded = static_cast<double>(arguments.n_passes) * n;
    std::printf(
        "{\"tokens_per_second\": %.4f, \"tokens_per_second_without\": %.4f, \"ratio\": %.5f, \"lower_quartile\": %.5f, "
        "\"upper_quartile\": %.5f, \"pairs_of_turns\": %zu, \"read_bytes_per_token\": %.1f, "
        "\"read_ahead_bytes_per_token\": %.1f, \"useful_bytes_per_token\": %.1f}\n",
        quantile(turns.with, 0.5), quantile(turns.without, 0.5), quantile(ratios, 0.5), quantile(ratios, 0.25),
        quantile(ratios, 0.75), ratios.size(), static_cast<double>(span.read_bytes) / n_decoded,
        static_cast<double>(span.prefetch.read_ahead_bytes) / n_decoded,
        static_cast<double>(span.prefetch.useful_bytes) / n_decoded);
}

}  // namespace

int main(int argc, char ** argv) {
    run(parse(argc, argv));
    return 0;
}
