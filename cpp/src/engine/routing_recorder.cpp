#include "engine/routing_recorder.h"

#include "store/slot_sizes.h"

#include <algorithm>
#include <filesystem>

namespace edgemoe {
namespace {

// Of one expert, by layer. Slots are what a cache holds. Where the experts of a layer differ it is their mean: a replay
// that is to be exact then needs the model.
std::vector<uint64_t> mean_slot_bytes(const ExpertIndex & index) {
    const ExpertSizes sizes = slot_sizes(index);
    std::vector<uint64_t> means(static_cast<size_t>(policy_shape(index).n_layers), 0);
    for (const ExpertLayer & layer : index.layers()) {
        uint64_t sum = 0;
        const auto n_experts = static_cast<int32_t>(layer.experts.size());
        for (int32_t expert = 0; expert < n_experts; ++expert) {
            sum += sizes.of({layer.layer, expert});
        }
        means[static_cast<size_t>(layer.layer)] = sum / static_cast<uint64_t>(std::max(1, n_experts));
    }
    return means;
}

}  // namespace

Result<std::unique_ptr<RoutingRecorder>> RoutingRecorder::create(const std::string & path, const GgufSource & source) {
    const ExpertIndex & experts = source.experts();
    TraceHeader header;
    header.model = std::filesystem::path(source.path()).filename().string();
    header.architecture = source.architecture();
    header.n_experts_used = experts.n_experts_used();
    header.shape = policy_shape(experts);
    header.layer_bytes = mean_slot_bytes(experts);
    Result<std::unique_ptr<TraceWriter>> writer = TraceWriter::create(path, header);
    if (!writer.is_ok()) {
        return writer.status();
    }
    return std::unique_ptr<RoutingRecorder>(new RoutingRecorder(std::move(writer).value()));
}

void RoutingRecorder::set_phase(TracePhase phase) {
    turn_ += phase == TracePhase::kPrompt && phase_ == TracePhase::kDecode ? 1 : 0;
    phase_ = phase;
}

void RoutingRecorder::on_routing(int32_t layer, int32_t n_slots, const std::vector<int32_t> & experts) {
    if (n_tokens_ > 0 && layer <= layer_) {
        first_token_ += n_tokens_;
    }
    layer_ = layer;
    n_tokens_ = static_cast<int64_t>(experts.size()) / std::max(1, n_slots);
    for (size_t i = 0; i < experts.size(); ++i) {
        const auto slot = static_cast<int32_t>(i % static_cast<size_t>(n_slots));
        const int64_t token = first_token_ + static_cast<int64_t>(i / static_cast<size_t>(n_slots));
        writer_->add(turn_, phase_, token, layer, slot, experts[i]);
    }
}

void RoutingRecorder::on_scores(int32_t, const float * scores, size_t n) {
    writer_->add_scores(scores, n);
}

Status RoutingRecorder::close() {
    return writer_->close();
}

}  // namespace edgemoe
