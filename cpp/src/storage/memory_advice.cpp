#include "storage/memory_advice.h"

#include "base/checked.h"

#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <string>
#include <system_error>
#include <vector>

#if !defined(MLOCK_ONFAULT)
#define MLOCK_ONFAULT 1U
#endif

namespace edgemoe {

namespace {

uint64_t page_bytes() {
    return static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
}

std::string lock_limit() {
    struct rlimit limit = {};
    if (::getrlimit(RLIMIT_MEMLOCK, &limit) != 0) {
        return "unknown";
    }
    return limit.rlim_cur == RLIM_INFINITY ? "unlimited" : std::to_string(limit.rlim_cur >> 10) + " KiB";
}

}  // namespace

void prefer_huge_pages(void * start, size_t bytes) {
    const auto begin = align_up(reinterpret_cast<uintptr_t>(start), page_bytes());
    const auto end = align_down(reinterpret_cast<uintptr_t>(start) + bytes, page_bytes());
    if (begin < end) {
        static_cast<void>(::madvise(reinterpret_cast<void *>(begin), end - begin, MADV_HUGEPAGE));
    }
}

Status lock_in_memory(void * start, size_t bytes) {
    if (bytes == 0 || ::mlock2(start, bytes, MLOCK_ONFAULT) == 0) {
        return Status::ok();
    }
    const int error = errno;
    return Status(StatusCode::kOutOfBudget,
                  "memory: " + std::to_string((bytes + (1 << 20) - 1) >> 20) +
                      " MiB cannot be locked: " + std::generic_category().message(error) + "; the limit is " +
                      lock_limit() + " (RLIMIT_MEMLOCK): raise it (ulimit -l, LimitMEMLOCK=), or do without mlock");
}

uint64_t touched_bytes(void * start, size_t bytes) {
    constexpr size_t kPagesAtOnce = 1 << 16;
    const auto page = static_cast<size_t>(page_bytes());
    std::vector<unsigned char> in_core(kPagesAtOnce);
    uint64_t touched = 0;
    for (size_t done = 0; done < bytes; done += kPagesAtOnce * page) {
        const size_t n = std::min(bytes - done, kPagesAtOnce * page);
        if (::mincore(static_cast<std::byte *>(start) + done, n, in_core.data()) != 0) {
            return 0;
        }
        const size_t n_pages = (n + page - 1) / page;
        touched += page * static_cast<uint64_t>(std::count_if(in_core.begin(),
                                                              in_core.begin() + static_cast<std::ptrdiff_t>(n_pages),
                                                              [](unsigned char state) { return (state & 1) != 0; }));
    }
    return std::min<uint64_t>(touched, bytes);
}

}  // namespace edgemoe
