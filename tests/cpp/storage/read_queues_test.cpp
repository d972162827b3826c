#include "storage/read_queues.h"

#include <doctest/doctest.h>

#include <cstdint>
#include <optional>
#include <vector>

namespace edgemoe::test {
namespace {

ReadRequest request(uint64_t id, ReadPriority priority) {
    ReadRequest result;
    result.id = id;
    result.priority = priority;
    return result;
}

// Prefetches 0 and 1, demand reads 2 and 3.
ReadQueues filled() {
    ReadQueues queues;
    queues.push(request(0, ReadPriority::kPrefetch));
    queues.push(request(1, ReadPriority::kPrefetch));
    queues.push(request(2, ReadPriority::kDemand));
    queues.push(request(3, ReadPriority::kDemand));
    return queues;
}

std::vector<uint64_t> pop_all(ReadQueues * queues) {
    std::vector<uint64_t> ids;
    while (const std::optional<ReadRequest> next = queues->pop()) {
        ids.push_back(next->id);
    }
    CHECK(queues->empty());
    return ids;
}

}  // namespace

TEST_CASE("demand reads come before prefetches, each in order") {
    ReadQueues queues = filled();
    CHECK_FALSE(queues.empty());
    CHECK(pop_all(&queues) == std::vector<uint64_t>{2, 3, 0, 1});
}

TEST_CASE("a promoted prefetch is the last of the demand reads") {
    ReadQueues queues = filled();
    queues.promote(1);
    queues.promote(2);
    queues.promote(99);
    CHECK(pop_all(&queues) == std::vector<uint64_t>{2, 3, 1, 0});
}

TEST_CASE("a request is removed once, from whichever queue it is in") {
    ReadQueues queues = filled();
    CHECK(queues.remove(0)->id == 0);
    CHECK(queues.remove(3)->id == 3);
    CHECK_FALSE(queues.remove(3));
    CHECK(pop_all(&queues) == std::vector<uint64_t>{2, 1});
}

TEST_CASE("a request that is put back is the next one of its priority") {
    ReadQueues queues = filled();
    const ReadRequest first = *queues.pop();
    queues.push_front(first);
    CHECK(pop_all(&queues) == std::vector<uint64_t>{2, 3, 0, 1});
}

}  // namespace edgemoe::test
