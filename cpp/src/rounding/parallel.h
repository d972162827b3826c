// A loop whose rounds are shared out over threads that live as long as the call.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <system_error>
#include <thread>
#include <vector>

namespace edgemoe {

// Calls work(i) for i in [0, n) from up to n_threads threads, the caller's among them, and returns when all are done.
// Fewer threads are used if the system gives no more. REQUIRES: work does not throw.
template <typename Work>
void parallel_for(int64_t n, int n_threads, const Work & work) {
    std::atomic<int64_t> next{0};
    const auto run = [&] {
        for (int64_t i = next++; i < n; i = next++) {
            work(i);
        }
    };
    std::vector<std::thread> threads;
    const int64_t n_helpers = std::min<int64_t>(n, n_threads) - 1;
    for (int64_t i = 0; i < n_helpers; ++i) {
        try {
            threads.emplace_back(run);
        } catch (const std::system_error &) {
            break;
        }
    }
    run();
    for (std::thread & thread : threads) {
        thread.join();
    }
}

}  // namespace edgemoe
