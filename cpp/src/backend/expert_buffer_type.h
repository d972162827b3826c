// The buffer type of tensors that stay on flash, experts and row tables: they have an address, but no memory behind it.
//
// One per loaded model; its tensors lead to the model's expert store. llama.cpp is told by tensor_buft_overrides to put
// these tensors here; nothing is ever read into them.
#pragma once

#include "backend/expert_layout.h"
#include "backend/layer_predictor.h"
#include "backend/routing_observer.h"
#include "base/expert_id.h"
#include "base/status.h"
#include "store/expert_store.h"
#include "store/row_table.h"

#include "ggml-backend.h"
#include "ggml-cpu.h"

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <string>

namespace edgemoe {

// REQUIRES: outlives the llama.cpp model and contexts that use it. set_streams() before the first graph is computed;
// take_failure() is thread-safe.
class ExpertBufferType {
public:
    ExpertBufferType();
    ~ExpertBufferType();
    ExpertBufferType(const ExpertBufferType &) = delete;
    ExpertBufferType & operator=(const ExpertBufferType &) = delete;

    ggml_backend_buffer_type_t handle();

    // What computing needs; all outlive the computations. `threads` is shared with the llama.cpp context.
    void set_streams(ExpertStore * store, const ExpertLayout * layout, ggml_threadpool_t threads);
    // Told of every choice of the routers from now on; nullptr: nobody. Not while computing. REQUIRES: outlives that.
    void set_observer(RoutingObserver * observer) { observer_ = observer; }
    // Asked in each layer what comes next, from now on; nullptr: nobody is. As set_observer().
    void set_predictor(LayerPredictor * predictor) { predictor_ = predictor; }
    void set_row_tables(const std::map<std::string, std::unique_ptr<RowTable>> & tables);
    ExpertStore * store() const { return store_; }
    const ExpertLayout * layout() const { return layout_; }
    ggml_threadpool_t threads() const { return threads_; }
    RoutingObserver * observer() const { return observer_; }
    LayerPredictor * predictor() const { return predictor_; }
    RowTable * row_table(const char * name) const;  // nullptr: there is none of this name

    // While *flag is true, computations give up. nullptr: they never do. The flag outlives its use here.
    void set_cancel_flag(const std::atomic<bool> * flag) { cancel_flag_.store(flag); }
    bool cancelled() const {
        const std::atomic<bool> * flag = cancel_flag_.load(std::memory_order_relaxed);
        return flag != nullptr && flag->load(std::memory_order_relaxed);
    }

    // The first failure since the last take_failure(): llama.cpp reports only that a graph failed, this says why.
    void set_failure(const Status & failure);
    Status take_failure();

private:
    struct Handle;
    std::unique_ptr<Handle> handle_;
    ExpertStore * store_ = nullptr;
    const ExpertLayout * layout_ = nullptr;
    ggml_threadpool_t threads_ = nullptr;
    RoutingObserver * observer_ = nullptr;
    LayerPredictor * predictor_ = nullptr;
    std::map<std::string, RowTable *> row_tables_;  // by the tensor's name
    std::atomic<const std::atomic<bool> *> cancel_flag_{nullptr};
    std::mutex mutex_;
    Status failure_;  // guarded by mutex_
};

// The buffer type of a tensor that stays on flash, or nullptr if `tensor` lies in another kind of buffer.
ExpertBufferType * expert_buffer_type_of(const ggml_tensor * tensor);

// True for the handle of any ExpertBufferType.
bool is_expert_buffer_type(ggml_backend_buffer_type_t type);

// Parses "blk.N.ffn_{gate,up,gate_up,down}_exps.weight". False for any other name.
bool parse_expert_tensor_name(const char * name, int32_t * layer, Projection * projection);

// The pattern (std::regex) of the names above, for llama_model_params.tensor_buft_overrides.
extern const char * const kExpertTensorPattern;

}  // namespace edgemoe
