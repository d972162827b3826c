// A mutex for what is held for microseconds: who finds it taken waits awake at first (base/wait_awake.h). With a
// std::mutex, two threads that take turns put each other to sleep, and a sleeper comes back later than a read takes.
#pragma once

#include "base/wait_awake.h"

#include <mutex>

namespace edgemoe {

// As std::mutex; for std::unique_lock and std::condition_variable_any.
class AwakeMutex {
public:
    void lock() {
        if (mutex_.try_lock()) {
            return;
        }
        bool is_taken = false;
        wait_awake([&] { return is_taken = mutex_.try_lock(); });
        if (!is_taken) {
            mutex_.lock();
        }
    }
    bool try_lock() { return mutex_.try_lock(); }
    void unlock() { mutex_.unlock(); }

private:
    std::mutex mutex_;
};

}  // namespace edgemoe
