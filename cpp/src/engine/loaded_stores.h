// The expert stores of this process, so that a model that is loaded knows what the others may still grow by.
#pragma once

#include "store/expert_store.h"

#include <cstdint>

namespace edgemoe {

// Counts `store` while it lives. Thread-safe; destroyed before the store.
class LoadedStore {
public:
    explicit LoadedStore(const ExpertStore & store);
    ~LoadedStore();
    LoadedStore(const LoadedStore &) = delete;
    LoadedStore & operator=(const LoadedStore &) = delete;

private:
    const ExpertStore & store_;
};

// Bytes of all counted caches that take no memory yet. Thread-safe.
uint64_t untouched_cache_bytes();

}  // namespace edgemoe
