// The text is foreign: each number is checked against the shape that the header declares, and the shape against a
// limit, before anything is sized by it.
#include "simulate/trace.h"

#include "simulate/gzip.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <numeric>
#include <optional>

namespace edgemoe {
namespace {

constexpr int64_t kMostLayers = 1 << 12;
constexpr int64_t kMostExpertsPerLayer = 1 << 16;
constexpr int64_t kMostExperts = 1 << 22;
constexpr int64_t kMostExpertBytes = int64_t{1} << 40;
constexpr uint64_t kMostTraceBytes = uint64_t{1} << 30;
constexpr std::string_view kScores = "# next_use ";

// The columns that are read.
struct Row {
    int64_t turn = 0;
    int64_t phase = 0;
    int64_t token = 0;
    int64_t layer = 0;
    int64_t slot = 0;
    int64_t expert = 0;
};

std::string_view take_until(std::string_view * rest, char separator) {
    const size_t end = rest->find(separator);
    const std::string_view part = rest->substr(0, end);
    rest->remove_prefix(end == std::string_view::npos ? rest->size() : end + 1);
    return part;
}

// The whole of `text` as a number; nullopt if it is anything else.
std::optional<int64_t> whole_number(std::string_view text) {
    int64_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc() || end != text.data() + text.size()) {
        return std::nullopt;
    }
    return number;
}

// The whole of `text` as a finite number, as `%g` writes it; nullopt if it is anything else.
std::optional<float> decimal_number(std::string_view text) {
    const std::string copy(text);
    char * end = nullptr;
    const float number = std::strtof(copy.c_str(), &end);
    if (copy.empty() || *end != '\0' || !std::isfinite(number)) {
        return std::nullopt;
    }
    return number;
}

// The text behind `key=` in a comment line of such pairs.
std::optional<std::string_view> header_text(std::string_view line, std::string_view key) {
    while (!line.empty()) {
        std::string_view pair = take_until(&line, ' ');
        if (pair.size() > key.size() && pair.substr(0, key.size()) == key && pair[key.size()] == '=') {
            return pair.substr(key.size() + 1);
        }
    }
    return std::nullopt;
}

// The number behind `key=`, if it is in 1..most (or 0..most where zero is allowed).
std::optional<int64_t> header_number(std::string_view line, std::string_view key, int64_t least, int64_t most) {
    const std::optional<std::string_view> text = header_text(line, key);
    const std::optional<int64_t> number = text ? whole_number(*text) : std::nullopt;
    return number && *number >= least && *number <= most ? number : std::nullopt;
}

class Parser {
public:
    Parser(const std::string & name, uint64_t fallback_bytes) : name_(name), fallback_bytes_(fallback_bytes) {}

    Result<RoutingTrace> parse(std::string_view text) {
        while (!text.empty()) {
            ++line_number_;
            std::string_view line = take_until(&text, '\n');
            if (!line.empty() && line.back() == '\r') {
                line.remove_suffix(1);
            }
            if (line.empty() || line.substr(0, 5) == "turn,") {
                continue;
            }
            const Status status = line.front() == '#' ? read_header(line) : read_row(line);
            if (!status.is_ok()) {
                return status;
            }
        }
        if (trace_.steps.empty()) {
            return error("no rows; is it a routing trace?");
        }
        finish_layer();
        if (!has_sizes_) {
            for (const TraceStep & step : trace_.steps) {
                for (const TraceLayer & layer : step.layers) {
                    layer_bytes_[static_cast<size_t>(layer.layer)] = fallback_bytes_;
                }
            }
        }
        trace_.sizes = ExpertSizes::by_layer(trace_.shape.n_experts, layer_bytes_);
        return std::move(trace_);
    }

private:
    Status error(const std::string & reason) const {
        return {StatusCode::kFormat, name_ + ": line " + std::to_string(line_number_) + ": " + reason};
    }

    Status read_header(std::string_view line) {
        if (line.substr(0, kScores.size()) == kScores) {
            return read_scores(line.substr(kScores.size()));
        }
        if (header_text(line, "n_layer")) {
            return read_shape(line);
        }
        if (header_text(line, "expert_bytes")) {
            const auto layer = header_number(line, "layer", 0, static_cast<int64_t>(layer_bytes_.size()) - 1);
            const auto bytes = header_number(line, "expert_bytes", 0, kMostExpertBytes);
            if (!layer || !bytes) {
                return error("layer and expert_bytes must be numbers, the layer below n_layer");
            }
            layer_bytes_[static_cast<size_t>(*layer)] = static_cast<uint64_t>(*bytes);
            has_sizes_ = has_sizes_ || *bytes > 0;
        }
        return Status::ok();
    }

    // Of the layer whose rows came last.
    Status read_scores(std::string_view rest) {
        if (trace_.steps.empty()) {
            return error("next_use before the first row");
        }
        std::vector<float> scores;
        while (!rest.empty() && scores.size() <= static_cast<size_t>(trace_.shape.n_experts)) {
            const std::optional<float> score = decimal_number(take_until(&rest, ' '));
            if (!score) {
                return error("next_use must be followed by numbers");
            }
            scores.push_back(*score);
        }
        if (scores.empty() || scores.size() > static_cast<size_t>(trace_.shape.n_experts)) {
            return error("next_use must have a number for each expert of the layer");
        }
        trace_.steps.back().layers.back().scores = std::move(scores);
        return Status::ok();
    }

    Status read_shape(std::string_view line) {
        const auto n_layers = header_number(line, "n_layer", 1, kMostLayers);
        const auto n_experts = header_number(line, "n_expert", 1, kMostExpertsPerLayer);
        if (!n_layers || !n_experts || !layer_bytes_.empty()) {
            return error("n_layer and n_expert must be given once, and be within 1.." + std::to_string(kMostLayers) +
                         " and 1.." + std::to_string(kMostExpertsPerLayer));
        }
        if (*n_layers * *n_experts > kMostExperts) {
            return error("n_layer x n_expert is more than " + std::to_string(kMostExperts));
        }
        trace_.model = std::string(header_text(line, "model").value_or(""));
        trace_.shape = {static_cast<int32_t>(*n_layers), static_cast<int32_t>(*n_experts)};
        layer_bytes_.assign(static_cast<size_t>(*n_layers), 0);
        return Status::ok();
    }

    Status read_row(std::string_view line) {
        Row row;
        constexpr std::array kColumns = {&Row::turn, &Row::phase, &Row::token, &Row::layer, &Row::slot, &Row::expert};
        for (int64_t Row::*column : kColumns) {
            const std::optional<int64_t> number = whole_number(take_until(&line, ','));
            if (!number) {
                return error("expected turn,phase,step,layer,slot,expert,... as whole numbers");
            }
            row.*column = *number;
        }
        if (row.phase != 0 && row.phase != 1) {
            return error("phase " + std::to_string(row.phase) + " is neither 0 (prompt) nor 1 (decode)");
        }
        if (layer_bytes_.empty()) {
            return error("a line \"# n_layer=... n_expert=...\" must come before the rows");
        }
        if (row.layer < 0 || row.layer >= trace_.shape.n_layers) {
            return error("layer " + std::to_string(row.layer) + " is not below n_layer");
        }
        if (has_sizes_ && layer_bytes_[static_cast<size_t>(row.layer)] == 0) {
            return error("layer " + std::to_string(row.layer) + " has no expert_bytes in the header");
        }
        if (row.expert < 0 || row.expert >= trace_.shape.n_experts) {
            return error("expert " + std::to_string(row.expert) + " is not below n_expert");
        }
        add(row);
        return Status::ok();
    }

    void add(const Row & row) {
        const TracePhase phase = row.phase == 0 ? TracePhase::kPrompt : TracePhase::kDecode;
        const bool next_token = row.token != previous_.token;
        const bool next_step = trace_.steps.empty() || row.turn != previous_.turn || row.phase != previous_.phase ||
                               row.layer < previous_.layer || (phase == TracePhase::kDecode && next_token);
        const bool next_layer = next_step || row.layer != previous_.layer;
        if (next_layer) {
            finish_layer();
            token_number_ = 0;
        } else if (next_token) {
            ++token_number_;
        }
        if (next_step) {
            trace_.steps.push_back({phase, {}});
        }
        std::vector<TraceLayer> & layers = trace_.steps.back().layers;
        if (next_layer) {
            layers.push_back({static_cast<int32_t>(row.layer), {}, 1, {}});
        }
        TraceLayer & layer = layers.back();
        const auto expert = static_cast<int32_t>(row.expert);
        const auto found = std::find(layer.experts.begin(), layer.experts.end(), expert);
        if (found == layer.experts.end()) {
            layer.experts.push_back(expert);
            layer.ages.push_back({token_number_});
        } else {
            std::vector<int32_t> & tokens = layer.ages[static_cast<size_t>(found - layer.experts.begin())];
            if (tokens.back() != token_number_) {
                tokens.push_back(token_number_);
            }
        }
        previous_ = row;
    }

    // Until here `ages` has held the tokens' numbers.
    void finish_layer() {
        if (trace_.steps.empty()) {
            return;
        }
        TraceLayer & layer = trace_.steps.back().layers.back();
        layer.n_tokens = token_number_ + 1;
        if (layer.n_tokens == 1) {
            return;  // ages 0, in the router's order
        }
        std::vector<size_t> order(layer.experts.size());
        std::iota(order.begin(), order.end(), size_t{0});
        std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return layer.experts[a] < layer.experts[b]; });
        TraceLayer sorted{layer.layer, {}, layer.n_tokens, {}, std::move(layer.scores)};
        for (const size_t place : order) {
            sorted.experts.push_back(layer.experts[place]);
            sorted.ages.push_back(std::move(layer.ages[place]));
            for (int32_t & age : sorted.ages.back()) {
                age = token_number_ - age;
            }
        }
        layer = std::move(sorted);
    }

    const std::string & name_;
    uint64_t fallback_bytes_;
    size_t line_number_ = 0;
    RoutingTrace trace_;
    std::vector<uint64_t> layer_bytes_;  // by layer, of one expert; empty before the header's shape
    bool has_sizes_ = false;             // the header gives some
    Row previous_;
    int32_t token_number_ = 0;  // in the layer of the step that is being read
};

}  // namespace

size_t RoutingTrace::n_decode_steps() const {
    return static_cast<size_t>(std::count_if(steps.begin(), steps.end(),
                                             [](const TraceStep & step) { return step.phase == TracePhase::kDecode; }));
}

Result<RoutingTrace> parse_trace(std::string_view text, const std::string & name, uint64_t fallback_bytes) {
    return Parser(name, fallback_bytes).parse(text);
}

Result<RoutingTrace> read_trace_file(const std::string & path, uint64_t fallback_bytes) {
    const std::unique_ptr<std::FILE, int (*)(std::FILE *)> file(std::fopen(path.c_str(), "rb"), std::fclose);
    if (file == nullptr) {
        return Status(errno == ENOENT ? StatusCode::kNotFound : StatusCode::kIo,
                      path + ": cannot be opened: " + std::strerror(errno));
    }
    std::string bytes;
    std::array<char, 1 << 16> block{};
    size_t n_read = 0;
    while ((n_read = std::fread(block.data(), 1, block.size(), file.get())) > 0) {
        bytes.append(block.data(), n_read);
        if (bytes.size() > kMostTraceBytes) {
            return Status(StatusCode::kFormat,
                          path + ": larger than " + std::to_string(kMostTraceBytes) + " bytes; is it a routing trace?");
        }
    }
    if (std::ferror(file.get()) != 0) {
        return Status(StatusCode::kIo, path + ": cannot be read: " + std::strerror(errno));
    }
    if (!is_gzip(bytes)) {
        return parse_trace(bytes, path, fallback_bytes);
    }
    const Result<std::string> text = unpack_gzip(bytes, kMostTraceBytes, path);
    return text.is_ok() ? parse_trace(text.value(), path, fallback_bytes) : text.status();
}

}  // namespace edgemoe
