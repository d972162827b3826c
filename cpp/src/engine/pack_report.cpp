#include "engine/pack_report.h"

#include "engine/json_text.h"

#include "ggml.h"

#include <map>

namespace edgemoe {

namespace {

std::string type_name(int32_t type) {
    return ggml_type_name(static_cast<ggml_type>(type));
}

// How many experts of a layer have which type: {"down": {"iq3_s": 12, ...}, ...}.
std::string types_of_layer(const std::vector<ExpertTypes> & experts) {
    Json layer('{');
    for (size_t p = 0; p < kProjectionCount; p++) {
        std::map<int32_t, uint64_t> counts;
        for (const ExpertTypes & types : experts) {
            if (types[p] != kNoType) {
                counts[types[p]]++;
            }
        }
        if (!counts.empty()) {
            Json projection('{');
            for (const auto & [type, count] : counts) {
                projection.member(type_name(type), count);
            }
            layer.member(kProjectionNames[p], projection.close());
        }
    }
    return layer.close();
}

}  // namespace

std::string to_json(const PackReport & report) {
    Json curve('[');
    for (const PackPoint & point : report.curve) {
        curve.element(Json('{')
                          .member("bits", point.bits)
                          .member("kl_divergence", point.kl_divergence)
                          .member("file_bytes", point.file_bytes)
                          .member("read_bytes_per_token", point.read_bytes_per_token)
                          .close());
    }
    Json speeds('[');
    for (const TypeSpeed & speed : report.speeds) {
        speeds.element(Json('{')
                           .member("type", quoted(type_name(speed.type)))
                           .member("bits", speed.bits)
                           .member("ns_per_weight", speed.ns_per_weight)
                           .close());
    }
    Json layers('[');
    for (size_t i = 0; i < report.layers.size(); i++) {
        layers.element(Json('{')
                           .member("layer", static_cast<uint64_t>(report.layers[i]))
                           .member("types", types_of_layer(report.allocation.types[i]))
                           .close());
    }
    Json warnings('[');
    for (const std::string & warning : report.warnings) {
        warnings.element(quoted(warning));
    }
    Json json('{');
    json.member("bits", report.allocation.bits)
        .member("file_bytes", report.file_bytes)
        .member("expert_bytes", report.allocation.expert_bytes)
        .member("read_bytes_per_token", report.allocation.read_bytes_per_token)
        .member("kernel_ms_per_token", report.allocation.kernel_ms_per_token)
        .member("expected_kl_divergence", report.allocation.kl_divergence)
        .member("gap", report.allocation.gap);
    if (report.missed_bytes_per_token) {
        json.member("missed_bytes_per_token", *report.missed_bytes_per_token);
    }
    if (report.reference) {
        json.member("tolerated_kl_divergence", report.reference->kl_divergence);
    }
    if (report.measured.tokens > 0) {
        json.member("kl_divergence", report.measured.kl_divergence)
            .member("kl_divergence_error", report.measured.kl_divergence_error)
            .member("argmax_agreement", report.measured.argmax_agreement)
            .member("perplexity", report.measured.perplexity)
            .member("tokens", report.measured.tokens);
    }
    json.member("attempts", static_cast<uint64_t>(report.n_attempts))
        .member("matrices", report.n_matrices)
        .member("feedback_matrices", report.n_feedback)
        .member("resumed_matrices", report.n_resumed)
        .member("rounding_seconds", report.rounding_seconds)
        .member("expert_seconds", report.expert_seconds)
        .member("curve", curve.close())
        .member("types", speeds.close())
        .member("layers", layers.close())
        .member("warnings", warnings.close());
    return json.close();
}

}  // namespace edgemoe
