// Waiting for something that is microseconds away.
#pragma once

#include <chrono>

namespace edgemoe {

// A thread that sleeps is woken tens of microseconds late, and later where the processor went to sleep with it; a small
// read from flash takes about a hundred.
constexpr std::chrono::microseconds kMostAwake{300};

// Tells the processor that the thread only waits: it takes less power, and leaves more to its sibling.
inline void pause_processor() {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__) || defined(__arm__)
    __asm__ __volatile__("yield");
#endif
}

// Until is_over() or, at the latest, kMostAwake have gone by. `is_over` is called often. The thread does not give up
// its processor: where another program wants it too, a thread that does gets it back milliseconds later.
template <typename IsOver>
void wait_awake(IsOver && is_over) {
    constexpr int kPausesPerLook = 8;
    const auto end = std::chrono::steady_clock::now() + kMostAwake;
    while (!is_over() && std::chrono::steady_clock::now() < end) {
        for (int i = 0; i < kPausesPerLook; i++) {
            pause_processor();
        }
    }
}

}  // namespace edgemoe
