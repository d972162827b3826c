// Reads the experts that were used most in the last runs, or by a profile's text, while a model waits for its first
// prompt, and remembers those of this run.
#pragma once

#include "engine/gguf_source.h"
#include "engine/hot_list.h"
#include "engine/model_identity.h"
#include "store/expert_store.h"

#include <atomic>
#include <memory>
#include <string>
#include <thread>

namespace edgemoe {

class Prewarming {
public:
    // Begins to read. Where no run is remembered, the text of `profile` (a path; empty: none) is taken for one. nullptr
    // where there is no place to remember anything. What cannot be read or remembered is not missed: nothing of this
    // fails. REQUIRES: source and store outlive the object.
    static std::unique_ptr<Prewarming> start(const GgufSource & source, ExpertStore & store,
                                             const std::string & profile);

    // Stops reading, and writes down what was used.
    ~Prewarming();
    Prewarming(const Prewarming &) = delete;
    Prewarming & operator=(const Prewarming &) = delete;

private:
    Prewarming(ExpertStore & store, std::string path, ModelIdentity model, HotList list);

    ExpertStore & store_;
    const std::string path_;
    const ModelIdentity model_;
    HotList list_;
    std::atomic<bool> stop_{false};
    std::thread reading_;
};

}  // namespace edgemoe
