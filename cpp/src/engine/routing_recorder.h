// Records what a model's routers choose, as a routing trace (docs/traces.md).
#pragma once

#include "backend/routing_observer.h"
#include "base/status.h"
#include "engine/gguf_source.h"
#include "simulate/trace_writer.h"

#include <memory>
#include <string>

namespace edgemoe {

// One thread at a time.
class RoutingRecorder final : public RoutingObserver {
public:
    // Creates or replaces the file. kIo with the reason.
    static Result<std::unique_ptr<RoutingRecorder>> create(const std::string & path, const GgufSource & source);

    // What is computed from now on. A prompt after decoded tokens begins a turn.
    void set_phase(TracePhase phase);
    void on_routing(int32_t layer, int32_t n_slots, const std::vector<int32_t> & experts) override;
    void on_scores(int32_t layer, const float * scores, size_t n) override;

    // kIo when anything could not be written. REQUIRES: the last call.
    Status close();

private:
    explicit RoutingRecorder(std::unique_ptr<TraceWriter> writer) : writer_(std::move(writer)) {}

    std::unique_ptr<TraceWriter> writer_;
    TracePhase phase_ = TracePhase::kPrompt;
    int64_t turn_ = 0;
    int64_t first_token_ = 0;  // of the ubatch, counted over the recording
    int64_t n_tokens_ = 0;     // of the ubatch; 0: none has begun
    int32_t layer_ = 0;        // the last that was recorded
};

}  // namespace edgemoe
