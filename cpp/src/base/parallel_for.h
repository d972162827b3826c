// Independent work on several threads.
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

namespace edgemoe {

// Calls work(i) for each i in [0, n), on up to `n_threads` threads, the caller's among them; returns when all are done.
// `work` is called from several threads at once and does not throw.
template <typename Work>
void parallel_for(int64_t n, int n_threads, Work && work) {
    std::atomic<int64_t> next{0};
    const auto run = [&] {
        for (int64_t i = next.fetch_add(1); i < n; i = next.fetch_add(1)) {
            work(i);
        }
    };
    std::vector<std::thread> threads;
    for (int i = 1; i < n_threads && i < n; i++) {
        threads.emplace_back(run);
    }
    run();
    for (std::thread & thread : threads) {
        thread.join();
    }
}

}  // namespace edgemoe
