// Invariant: a buffer is free, or its chunks are in flight (is_busy); n_in_flight_ counts the latter. All chunks of
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

// Most bytes that one read of a matrix brings.
uint64_t most_read_bytes(const ExpertPart & part) {
    return std::min(part.bytes, row_bytes(part) * static_cast<uint64_t>(chunk_rows(part)));
}

}  // namespace

size_t Chunk::read_bytes() const {
    return static_cast<size_t>(align_up(skip_bytes + bytes, kDirectAlignment));
}

size_t JoinedChunks::read_bytes() const {
    size_t bytes = 0;
    for (const Chunk & chunk : *this) {
        bytes = std::max(bytes, skip_bytes(chunk) + chunk.read_bytes());
    }
    return bytes;
}

uint64_t ChunkQueue::buffer_bytes(const ExpertIndex & index, uint64_t most_joined_bytes) {
    uint64_t most = 0;
    for (const ExpertLayer & layer : index.layers()) {
        for (const ExpertParts & parts : layer.experts) {
            uint64_t bytes = 0;  // of the expert in the file, with what is between its matrices
            uint64_t first = UINT64_MAX, end = 0;
            for (const ExpertPart & part : parts) {
                if (part.present) {
                    most = std::max(most, most_read_bytes(part));
                    first = std::min(first, part.offset);
                    end = std::max(end, part.offset + part.bytes);
                    bytes += align_up(part.bytes, kDirectAlignment);
                }
            }
            if (bytes <= most_joined_bytes && end - std::min(first, end) <= bytes) {
                most = std::max(most, bytes);
            }
        }
    }
    return align_up(most, kDirectAlignment) + 2 * kDirectAlignment;
}

ChunkQueue::ChunkQueue(std::byte * memory, size_t n_buffers, uint64_t buffer_bytes, uint64_t most_joined_bytes)
    : staging_(memory, n_buffers, static_cast<size_t>(buffer_bytes)),
      most_joined_bytes_(std::min(most_joined_bytes, buffer_bytes)),
      in_flight_(n_buffers) {
    for (size_t buffer = 0; buffer < n_buffers; buffer++) {
        in_flight_[buffer].id = buffer;
    }
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
        first_ += start(queue_, first_, requests);
    }
    if (first_ == queue_.size()) {
        queue_.clear();
        first_ = 0;
    }
    size_t n_started = 0;
    while (n_started < ahead_.size() && !staging_.empty() && !has_queued_demand() && n_ahead_in_flight_ < most_ahead) {
        n_started += start(ahead_, n_started, requests);
    }
    ahead_.erase(ahead_.begin(), ahead_.begin() + static_cast<std::ptrdiff_t>(n_started));
}

// Starts the chunk at `first`, and those after it that one read brings as well. Returns their number.
size_t ChunkQueue::start(const std::vector<Chunk> & chunks, size_t first, std::vector<ReadRequest> * requests) {
    const size_t buffer = staging_.take();
    InFlight & read = in_flight_[buffer];
    assert(!read.is_busy);
    const Chunk & begin = chunks[first];
    read.chunks.clear();
    read.chunks.add(begin);
    for (size_t i = first + 1; i < chunks.size() && !read.chunks.is_full() && begin.in_place == nullptr; i++) {
        const Chunk & next = chunks[i];
        const uint64_t end = begin.aligned_offset + read.chunks.read_bytes();
        if (next.entry != begin.entry || next.lease != begin.lease || next.purpose != begin.purpose ||
            next.file != begin.file || next.aligned_offset < begin.aligned_offset || next.aligned_offset > end ||
            next.aligned_offset + next.read_bytes() - begin.aligned_offset > most_joined_bytes_) {
            break;
        }
        read.chunks.add(next);
    }
    read.is_busy = true;
    n_in_flight_++;
    n_ahead_in_flight_ += begin.is_ahead() ? 1 : 0;
    ReadRequest request;
    request.id = read.id;
    request.file = begin.file;
    request.offset = begin.aligned_offset;
    request.bytes = read.chunks.read_bytes();
    request.destination = begin.in_place != nullptr ? begin.in_place : staging_.data(buffer);
    request.priority = begin.is_ahead() ? ReadPriority::kPrefetch : ReadPriority::kDemand;
    requests->push_back(request);
    return read.chunks.size();
}

const std::byte * ChunkQueue::data(uint64_t read_id, const Chunk & chunk) const {
    const std::byte * read = chunk.in_place != nullptr
                                 ? chunk.in_place
                                 : staging_.data(buffer_of(read_id)) + chunks(read_id).skip_bytes(chunk);
    return read + chunk.skip_bytes;
}

void ChunkQueue::finish(uint64_t read_id) {
    InFlight & read = in_flight_[buffer_of(read_id)];
    assert(read.is_busy && read.id == read_id);
    n_in_flight_--;
    n_ahead_in_flight_ -= read.chunks.front().is_ahead() ? 1 : 0;
    read.is_busy = false;
    read.id += in_flight_.size();
    staging_.give_back(buffer_of(read_id));
}

}  // namespace edgemoe
