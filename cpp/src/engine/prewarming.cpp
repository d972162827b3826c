#include "engine/prewarming.h"

#include "engine/profile.h"
#include "storage/user_cache.h"

#include <exception>
#include <new>
#include <system_error>
#include <utility>
#include <vector>

namespace edgemoe {

std::unique_ptr<Prewarming> Prewarming::start(const GgufSource & source, ExpertStore & store,
                                              const std::string & profile) {
    const std::string folder = user_cache_folder();
    Result<ModelIdentity> model = ModelIdentity::of(source);
    if (folder.empty() || !model.is_ok()) {
        return nullptr;
    }
    std::string path = HotList::path_of(folder, model.value());
    HotList list = HotList::read(path, model.value(), source.experts());
    if (list.entries().empty() && !profile.empty()) {
        std::vector<ExpertStore::Use> uses;
        for (const auto & [id, count] : Profile::read_counts(profile, source.experts())) {
            uses.push_back({id, count});
        }
        list.add(uses);
    }
    return std::unique_ptr<Prewarming>(
        new Prewarming(store, std::move(path), std::move(model).value(), std::move(list)));
}

Prewarming::Prewarming(ExpertStore & store, std::string path, ModelIdentity model, HotList list)
    : store_(store), path_(std::move(path)), model_(std::move(model)), list_(std::move(list)) {
    if (list_.entries().empty()) {
        return;
    }
    try {
        reading_ = std::thread([this, ids = list_.ids()] {
            try {
                store_.prewarm(ids, stop_);
            } catch (const std::bad_alloc &) {
                // Then it is read when it is asked for.
            }
        });
    } catch (const std::system_error &) {
        // No thread is to be had: the same.
    }
}

Prewarming::~Prewarming() {
    stop_.store(true);
    store_.wake();
    if (reading_.joinable()) {
        reading_.join();
    }
    try {
        if (list_.add(store_.uses())) {
            (void)list_.write(path_, model_);
        }
    } catch (const std::exception &) {
        // What is not remembered is not missed.
    }
}

}  // namespace edgemoe
