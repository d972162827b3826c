// Invariant: a buffer is in free_buffers, or in flight under its own number as the request's id.
#include "storage/bandwidth_probe.h"

#include "base/checked.h"
#include "storage/aligned_memory.h"

#include <algorithm>
#include <chrono>
#include <numeric>

namespace edgemoe {

Result<Bandwidth> probe_bandwidth(AsyncReader & reader, const std::vector<FileSpan> & spans, size_t n_in_flight,
                                  double most_seconds) {
    using Clock = std::chrono::steady_clock;
    Bandwidth measured;
    uint64_t buffer_bytes = 0;
    for (const FileSpan & span : spans) {
        buffer_bytes = std::max(buffer_bytes, align_up(span.bytes, kDirectAlignment) + kDirectAlignment);
    }
    Result<AlignedMemory> memory =
        AlignedMemory::allocate(buffer_bytes * n_in_flight, AlignedMemory::Access::kReadWrite);
    if (!memory.is_ok()) {
        return memory.status();
    }
    std::vector<uint64_t> free_buffers(n_in_flight);
    std::iota(free_buffers.begin(), free_buffers.end(), uint64_t{0});

    Status failure;
    size_t next = 0;
    std::vector<ReadCompletion> completions;
    const auto start = Clock::now();
    const auto elapsed = [&] { return std::chrono::duration<double>(Clock::now() - start).count(); };
    while (true) {
        std::vector<ReadRequest> requests;
        while (next < spans.size() && !free_buffers.empty() && failure.is_ok() && elapsed() < most_seconds) {
            const FileSpan & span = spans[next++];
            ReadRequest request;
            request.id = free_buffers.back();
            request.file = span.file;
            request.offset = align_down(span.offset, kDirectAlignment);
            request.bytes = static_cast<size_t>(align_up(span.offset + span.bytes, kDirectAlignment) - request.offset);
            request.destination = memory.value().data() + request.id * buffer_bytes;
            free_buffers.pop_back();
            requests.push_back(request);
        }
        if (!requests.empty()) {
            reader.submit(requests);
        }
        if (free_buffers.size() == n_in_flight) {
            break;
        }
        completions.clear();
        reader.wait(&completions);
        for (const ReadCompletion & completion : completions) {
            free_buffers.push_back(completion.id);
            measured.requests += 1;
            measured.bytes += completion.bytes_read;
            if (!completion.status.is_ok() && failure.is_ok()) {
                failure = completion.status;
            }
        }
    }
    measured.seconds = elapsed();
    if (!failure.is_ok()) {
        return failure;
    }
    return measured;
}

}  // namespace edgemoe
