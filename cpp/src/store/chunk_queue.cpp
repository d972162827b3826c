// Invariant: a buffer is free, or its chunk is in flight (is_busy); n_in_flight_ counts the latter. All chunks of
// ahead_ are ahead, none of queue_ is.
#include "store/chunk_queue.h"

#include "base/checked.h"
#include "store/row_converter.h"

#include <algorithm>
#include <cassert>
#include <cstddef>
#include <utility>

namespace edgemoe {
namespace {

constexpr uint64_t kChunkBytes = 1 << 20;  // one read

uint64_t row_bytes(const ExpertPart & part) {
    return part.bytes / static_cast<uint64_t>(part.rows);
}

int64_t divide_up(int64_t a, int64_t b) {
    return (a + b - 1) / b;
}

// As few chunks as kChunkBytes allows, of equal size: a small rest would cost a read like the others.
int64_t chunk_rows(const ExpertPart & part) {
    const auto most_groups = static_cast<int64_t>(kChunkBytes / std::max<uint64_t>(1, row_bytes(part) * kRowGroup));
    const int64_t n_groups = divide_up(part.rows, kRowGroup);
    const int64_t n_chunks = divide_up(n_groups, std::max<int64_t>(1, most_groups));
    return divide_up(n_groups, n_chunks) * kRowGroup;
}

}  // namespace

uint64_t ChunkQueue::most_read_bytes(const ExpertPart & part) {
    return std::min(part.bytes, row_bytes(part) * static_cast<uint64_t>(chunk_rows(part)));
}

size_t Chunk::read_bytes() const {
    return static_cast<size_t>(align_up(skip_bytes + bytes, kDirectAlignment));
}

uint64_t ChunkQueue::buffer_bytes(const ExpertIndex & index) {
    uint64_t most = 0;
    for (const ExpertLayer & layer : index.layers()) {
        for (const ExpertParts & parts : layer.experts) {
            for (const ExpertPart & part : parts) {
                if (part.present) {
                    most = std::max(most, most_read_bytes(part));
                }
            }
        }
    }
    return align_up(most, kDirectAlignment) + 2 * kDirectAlignment;
}

Result<ChunkQueue> ChunkQueue::create(size_t n_buffers, uint64_t buffer_bytes) {
    Result<StagingPool> staging = StagingPool::create(n_buffers, static_cast<size_t>(buffer_bytes));
    if (!staging.is_ok()) {
        return staging.status();
    }
    ChunkQueue queue(std::move(staging).value());
    queue.in_flight_.resize(n_buffers);
    for (size_t buffer = 0; buffer < n_buffers; buffer++) {
        queue.in_flight_[buffer].id = buffer;
    }
    return queue;
}

int32_t ChunkQueue::add(Chunk chunk, const ExpertPart & part, const File & file, std::byte * mapped) {
    const int64_t step = chunk_rows(part);
    int32_t n_chunks = 0;
    for (int64_t row = 0; row < part.rows; row += step) {
        chunk.first_row = row;
        chunk.n_rows = std::min(step, part.rows - row);
        chunk.bytes = static_cast<uint64_t>(chunk.n_rows) * row_bytes(part);
        chunk.file = &file;
        const uint64_t skipped = static_cast<uint64_t>(row) * row_bytes(part);
        const uint64_t offset = part.offset + skipped;
        chunk.aligned_offset = align_down(offset, kDirectAlignment);
        chunk.skip_bytes = static_cast<size_t>(offset - chunk.aligned_offset);
        chunk.in_place = mapped != nullptr ? mapped + skipped - chunk.skip_bytes : nullptr;
        (chunk.is_ahead() ? ahead_ : queue_).push_back(chunk);
        n_chunks++;
    }
    return n_chunks;
}

void ChunkQueue::start(std::vector<ReadRequest> * requests, size_t most_ahead) {
    while (has_queued_demand() && !staging_.empty()) {
        start(queue_[first_++], requests);
    }
    if (first_ == queue_.size()) {
        queue_.clear();
        first_ = 0;
    }
    size_t n_started = 0;
    while (n_started < ahead_.size() && !staging_.empty() && !has_demand() && n_ahead_in_flight_ < most_ahead) {
        start(ahead_[n_started++], requests);
    }
    ahead_.erase(ahead_.begin(), ahead_.begin() + static_cast<std::ptrdiff_t>(n_started));
}

void ChunkQueue::start(const Chunk & chunk, std::vector<ReadRequest> * requests) {
    const size_t buffer = staging_.take();
    InFlight & read = in_flight_[buffer];
    assert(!read.is_busy);
    read.chunk = chunk;
    read.is_busy = true;
    n_in_flight_++;
    n_ahead_in_flight_ += chunk.is_ahead() ? 1 : 0;
    ReadRequest request;
    request.id = read.id;
    request.file = chunk.file;
    request.offset = chunk.aligned_offset;
    request.bytes = chunk.read_bytes();
    request.destination = chunk.in_place != nullptr ? chunk.in_place : staging_.data(buffer);
    request.priority = chunk.is_ahead() ? ReadPriority::kPrefetch : ReadPriority::kDemand;
    requests->push_back(request);
}

const std::byte * ChunkQueue::data(uint64_t read_id) const {
    const std::byte * read = chunk(read_id).in_place;
    return (read != nullptr ? read : staging_.data(buffer_of(read_id))) + chunk(read_id).skip_bytes;
}

void ChunkQueue::finish(uint64_t read_id) {
    InFlight & read = in_flight_[buffer_of(read_id)];
    assert(read.is_busy && read.id == read_id);
    n_in_flight_--;
    n_ahead_in_flight_ -= read.chunk.is_ahead() ? 1 : 0;
    read.is_busy = false;
    read.id += in_flight_.size();
    staging_.give_back(buffer_of(read_id));
}

}  // namespace edgemoe
