// Says which experts come while a model generates: by its maps, one product a layer, on the thread that asks, by ggml's
// kernels; and for the first layers by what they chose when the token came last.
#pragma once

#include "backend/layer_predictor.h"
#include "backend/routing_observer.h"
#include "backend/row_product.h"
#include "engine/expert_maps.h"
#include "predict/expert_forecast.h"
#include "predict/routing_history.h"
#include "predict/token_routing.h"

#include <cstdint>
#include <map>
#include <vector>

namespace edgemoe {

// One thread at a time. Nothing is allocated once every layer has been predicted from.
class MapPredictor final : public LayerPredictor {
public:
    // `forecasts`: false: nothing is read ahead, so that only the next use is of interest.
    MapPredictor(ExpertMaps maps, bool forecasts);

    // False: no forecasts are made until it is true again, for comparisons; what is seen is learnt all the same.
    // Without effect where the constructor was told that there are none. Not while computing.
    void set_forecasts(bool on) { forecasts_ahead_ = can_forecast_ && on; }
    // False: the maps say nothing of the next use.
    bool scores_next_use() const { return scores_next_use_; }
    // Told of the scores that the store is told; nullptr: nobody. Not while computing. REQUIRES: outlives that.
    void set_observer(RoutingObserver * observer) { observer_ = observer; }

    void begin_tokens(const int32_t * tokens, size_t n_tokens, ExpertStore & store) override;
    void pass_over(int32_t layer, const int32_t * ids, int n_tokens, int n_ids) override;
    void predict(int32_t layer, const float * ffn_input, const int32_t * ids, const float * weights, int n_ids,
                 ExpertStore & store) override;

    // Bytes in memory of a predictor with these maps.
    static uint64_t memory_bytes(const ExpertMaps & maps, bool forecasts);

private:
    struct Layer {
        const LayerMap * map = nullptr;
        RoutingHistory history;
        ggml_tensor weights = {};
        ggml_tensor near = {};      // its last rows: one layer ahead, and the next use
        ggml_tensor next_use = {};  // its last rows
        size_t position = 0;        // among the layers
        size_t n_tokens = 0;        // of tokens_ that it has seen
    };

    void forecast(const LayerMap & map, int32_t most_distance, ExpertStore & store);
    void see(Layer & layer, ChosenExperts chosen);

    ExpertMaps maps_;
    const bool can_forecast_;
    bool forecasts_ahead_;
    bool scores_next_use_ = false;
    bool is_batch_ = false;  // the ubatch has more tokens than the one that is predicted from
    RoutingObserver * observer_ = nullptr;
    std::map<int32_t, Layer> layers_;  // by block number
    TokenRouting token_routing_;
    std::vector<int32_t> tokens_;  // that are being evaluated
    uint64_t n_calls_ = 0;         // of begin_tokens()
    RowProduct product_;
    std::vector<RowProductVector> vectors_;
    std::vector<float> inputs_;
    std::vector<float> outputs_;
    std::vector<int32_t> likeliest_;
    std::vector<ExpertForecast> forecasts_;
};

}  // namespace edgemoe
