// The requests that an engine has accepted and not started: demand reads before prefetches, each in order of
// submission. Not thread-safe: guarded by the engine's mutex.
#pragma once

#include "storage/async_reader.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>

namespace edgemoe {

class ReadQueues {
public:
    bool empty() const { return queue(ReadPriority::kDemand).empty() && queue(ReadPriority::kPrefetch).empty(); }

    void push(const ReadRequest & request) { queue(request.priority).push_back(request); }

    // Undoes the last pop() that returned `request`.
    void push_front(const ReadRequest & request) { queue(request.priority).push_front(request); }

    // The request to start next, or nothing.
    std::optional<ReadRequest> pop() {
        Queue & next = queue(queue(ReadPriority::kDemand).empty() ? ReadPriority::kPrefetch : ReadPriority::kDemand);
        if (next.empty()) {
            return std::nullopt;
        }
        const ReadRequest request = next.front();
        next.pop_front();
        return request;
    }

    // Takes out the request with this id; nothing when it is not queued.
    std::optional<ReadRequest> remove(uint64_t id) {
        const std::optional<ReadRequest> demand = remove_from(&queue(ReadPriority::kDemand), id);
        return demand ? demand : remove_from(&queue(ReadPriority::kPrefetch), id);
    }

    // Moves a prefetch to the end of the demand reads. Ignores an id that is not queued as a prefetch.
    void promote(uint64_t id) {
        if (std::optional<ReadRequest> request = remove_from(&queue(ReadPriority::kPrefetch), id)) {
            request->priority = ReadPriority::kDemand;
            push(*request);
        }
    }

    void clear() { queues_ = {}; }

private:
    using Queue = std::deque<ReadRequest>;

    Queue & queue(ReadPriority priority) { return queues_[static_cast<size_t>(priority)]; }
    const Queue & queue(ReadPriority priority) const { return queues_[static_cast<size_t>(priority)]; }

    static std::optional<ReadRequest> remove_from(Queue * queue, uint64_t id) {
        const auto found =
            std::find_if(queue->begin(), queue->end(), [id](const ReadRequest & request) { return request.id == id; });
        if (found == queue->end()) {
            return std::nullopt;
        }
        const ReadRequest request = *found;
        queue->erase(found);
        return request;
    }

    std::array<Queue, 2> queues_;  // by ReadPriority
};

}  // namespace edgemoe
