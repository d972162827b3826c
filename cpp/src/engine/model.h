// A loaded model: hot weights in memory, experts behind a store.
#pragma once

#include "backend/expert_buffer_type.h"
#include "backend/expert_layout.h"
#include "base/status.h"
#include "engine/gguf_source.h"
#include "engine/hot_weights.h"
#include "engine/llama_handles.h"
#include "engine/load_options.h"
#include "engine/loaded_stores.h"
#include "engine/map_predictor.h"
#include "engine/memory_plan.h"
#include "engine/prewarming.h"
#include "engine/routing_recorder.h"
#include "engine/row_tables.h"
#include "storage/reader_factory.h"
#include "store/expert_store.h"

#include <atomic>
#include <functional>
#include <memory>
#include <string>

namespace edgemoe {

// Immutable after load(), but for the store behind it; sessions compute with it one at a time.
class Model {
public:
    // kNotFound, kIo, kFormat, kOutOfBudget, kCancelled (progress said stop), kUnsupported; the message says which file
    // and what to do.
    // `decorate` (may be empty) makes what converts the rows of experts, from the layout that would; the index and the
    // layout live as long as the model.
    using RowDecorator =
        std::function<std::unique_ptr<RowConverter>(const ExpertIndex & index, const RowConverter & layout)>;
    static Result<std::unique_ptr<Model>> load(const std::string & path, const LoadOptions & options,
                                               const RowDecorator & decorate = {});
    ~Model();

    // What is read to describe a model without loading it.
    struct Description {
        std::unique_ptr<GgufSource> source;
        MemoryPlan plan;
    };
    static Result<Description> describe(const std::string & path, const LoadOptions & options);

    const GgufSource & source() const { return *source_; }
    const LoadOptions & options() const { return options_; }
    const MemoryPlan & plan() const { return plan_; }
    uint64_t ceiling_bytes() const { return ceiling_bytes_; }
    llama_model * handle() const { return model_.get(); }
    const llama_vocab * vocab() const { return llama_model_get_vocab(model_.get()); }
    ggml_threadpool * threads() const { return threads_.get(); }
    int32_t n_threads() const { return n_threads_; }
    double load_seconds() const { return load_seconds_; }

    // nullptr when nothing is streamed: a dense model, or streaming switched off.
    ExpertStore * store() const { return store_.get(); }
    // nullptr when nothing is predicted: all experts fit, or nothing is known to predict by.
    const MapPredictor * predictor() const { return predictor_.get(); }
    // nullptr when no table of rows stays on flash.
    const RowTables * row_tables() const { return row_tables_.get(); }
    // Why the last llama_decode failed, if the expert store is the reason; forgets it.
    Status take_failure() const { return type_.take_failure(); }

    // From now on writes what the routers choose to a trace file; a recording that runs is ended first. Not while
    // computing. kUnsupported where nothing is streamed, kIo.
    Status start_recording(const std::string & path);
    // Ends the recording, if one runs. kIo when anything could not be written.
    Status stop_recording();
    // For the recording, if one runs: what is computed from now on.
    void set_recorded_phase(TracePhase phase) const;
    // Tokens of one sequence are evaluated next; nullptr: of several. What predicts experts may go by them.
    void announce_tokens(const int32_t * tokens, size_t n_tokens);
    // For measurements: who says from now on which experts come next, instead of predictor(); nullptr: predictor()
    // again. Not while computing; outlives its use. REQUIRES store().
    void set_predictor(LayerPredictor * predictor) {
        type_.set_predictor(predictor != nullptr ? predictor : predictor_.get());
    }
    // While *flag is true, the multiplication of experts gives up. nullptr: it never does.
    void set_cancel_flag(const std::atomic<bool> * flag) { type_.set_cancel_flag(flag); }

    // "streamed" (experts pass through the cache), "resident" (all experts fit, or llama.cpp holds them), "dense".
    const char * mode() const;
    std::string io_name() const { return store_ != nullptr ? store_->reader_name() : "none"; }
    const std::string & io_reason() const { return io_reason_; }

private:
    Model() = default;
    Result<ReaderChoice> choose_reader(uint64_t cache_bytes, bool decorated);
    Status read_hot_weights(const ReaderChoice & reader);
    Status make_store(uint64_t cache_bytes, ReaderChoice reader, const RowDecorator & decorate);
    Status load_streamed(uint64_t cache_bytes, const RowDecorator & decorate);
    Status load_by_llama();

    // In the order in which they depend on each other; destroyed in reverse.
    LoadOptions options_;
    std::unique_ptr<GgufSource> source_;
    MemoryPlan plan_;
    uint64_t ceiling_bytes_ = 0;
    int32_t n_threads_ = 1;
    double load_seconds_ = 0;
    std::string io_reason_;
    std::unique_ptr<RoutingRecorder> recorder_;
    GgmlThreadPool threads_;
    std::unique_ptr<ExpertLayout> layout_;
    std::unique_ptr<RowConverter> decorated_;
    ExpertMaps maps_;  // until the predictor takes them
    std::unique_ptr<ExpertStore> store_;
    std::unique_ptr<MapPredictor> predictor_;
    std::unique_ptr<LoadedStore> loaded_store_;
    std::unique_ptr<Prewarming> prewarming_;
    std::vector<size_t> row_table_tensors_;  // that may stay on flash
    std::unique_ptr<RowTables> row_tables_;
    mutable ExpertBufferType type_;
    std::unique_ptr<HotWeights> hot_weights_;
    LlamaModel model_;
};

}  // namespace edgemoe
