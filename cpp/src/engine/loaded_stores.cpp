#include "engine/loaded_stores.h"

#include <mutex>
#include <set>

namespace edgemoe {

namespace {

std::mutex stores_mutex;
std::set<const ExpertStore *> stores;  // guarded by stores_mutex

}  // namespace

LoadedStore::LoadedStore(const ExpertStore & store) : store_(store) {
    std::lock_guard<std::mutex> lock(stores_mutex);
    stores.insert(&store_);
}

LoadedStore::~LoadedStore() {
    std::lock_guard<std::mutex> lock(stores_mutex);
    stores.erase(&store_);
}

uint64_t untouched_cache_bytes() {
    std::lock_guard<std::mutex> lock(stores_mutex);
    uint64_t bytes = 0;
    for (const ExpertStore * store : stores) {
        bytes += store->untouched_bytes();
    }
    return bytes;
}

}  // namespace edgemoe
