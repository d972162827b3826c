// Applies a model's maps while it generates: one product a layer, on the thread that asks, by ggml's kernels.
#pragma once

#include "backend/layer_predictor.h"
#include "backend/routing_observer.h"
#include "backend/row_product.h"
#include "engine/expert_maps.h"
#include "predict/expert_forecast.h"
#include "predict/routing_history.h"

#include <cstdint>
#include <map>
#include <vector>

namespace edgemoe {

// One thread at a time. Nothing is allocated once every layer has been predicted from.
class MapPredictor final : public LayerPredictor {
public:
    explicit MapPredictor(ExpertMaps maps);

    // False: the maps say nothing of the next use.
    bool scores_next_use() const { return scores_next_use_; }
    // Told of the scores that the store is told; nullptr: nobody. Not while computing. REQUIRES: outlives that.
    void set_observer(RoutingObserver * observer) { observer_ = observer; }

    void pass_over(int32_t layer, const int32_t * ids, int n_tokens, int n_ids) override;
    void predict(int32_t layer, const float * ffn_input, const int32_t * ids, const float * weights, int n_ids,
                 ExpertStore & store) override;

    // Bytes in memory of a predictor with these maps.
    static uint64_t memory_bytes(const ExpertMaps & maps);

private:
    struct Layer {
        const LayerMap * map = nullptr;
        RoutingHistory history;
        ggml_tensor weights = {};
    };

    void forecast(const LayerMap & map, ExpertStore & store);

    ExpertMaps maps_;
    bool scores_next_use_ = false;
    RoutingObserver * observer_ = nullptr;
    std::map<int32_t, Layer> layers_;  // by block number
    RowProduct product_;
    std::vector<RowProductVector> vectors_;
    std::vector<float> inputs_;
    std::vector<float> outputs_;
    std::vector<int32_t> likeliest_;
    std::vector<ExpertForecast> forecasts_;
};

}  // namespace edgemoe
