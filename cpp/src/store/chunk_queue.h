// The reads that the store has decided on: matrices cut into chunks, which wait for a buffer or are in flight.
#pragma once

#include "base/expert_id.h"
#include "base/status.h"
#include "storage/async_reader.h"
#include "storage/expert_index.h"
#include "store/staging_pool.h"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace edgemoe {

// A run of rows of a matrix: what one read brings.
struct Chunk {
    uint64_t lease = 0;  // the one that it was queued for
    int32_t entry = 0;
    Projection projection = Projection::kGate;
    int64_t first_row = 0;
    int64_t n_rows = 0;
    uint64_t bytes = 0;  // of the rows
    const File * file = nullptr;
    uint64_t aligned_offset = 0;     // in the file
    size_t skip_bytes = 0;           // from the aligned offset to the first byte wanted
    std::byte * in_place = nullptr;  // where the aligned offset is mapped, if the read goes there

    // The read's size.
    size_t read_bytes() const;
};

// Not thread-safe: guarded by the store's mutex. Nothing is allocated once the longest queue was seen.
class ChunkQueue {
public:
    // The largest read of any matrix of `index`, and so the size of a buffer.
    static uint64_t buffer_bytes(const ExpertIndex & index);

    // `n_buffers` reads in flight at once, each with a buffer of `buffer_bytes` (0 if all are in place). kOutOfBudget
    // when memory is refused.
    static Result<ChunkQueue> create(size_t n_buffers, uint64_t buffer_bytes);

    // Queues the chunks of a matrix, in the order of its rows, and returns their number. `mapped`: where the matrix is
    // mapped, to be read in place; nullptr for reads into buffers.
    int32_t add(uint64_t lease, int32_t entry, Projection projection, const ExpertPart & part, const File & file,
                std::byte * mapped);

    // Appends requests for as many queued chunks, in order, as there are buffers. They are in flight from here on.
    void start(std::vector<ReadRequest> * requests);

    // The memory of all buffers.
    std::byte * buffers() const { return staging_.data(0); }
    size_t buffers_bytes() const { return staging_.buffer_bytes() * in_flight_.size(); }

    // The chunk of a request in flight, and where its wanted bytes are. Valid until finish().
    const Chunk & chunk(uint64_t read_id) const { return in_flight_[static_cast<size_t>(read_id)]; }
    const std::byte * data(uint64_t read_id) const;
    // The read has completed, and its bytes are not needed any more.
    void finish(uint64_t read_id);

    // Takes out the queued chunks of that lease, and calls `dropped` with each.
    template <typename Dropped>
    void drop(uint64_t lease, Dropped dropped) {
        size_t kept = first_;
        for (size_t i = first_; i < queue_.size(); i++) {
            if (queue_[i].lease == lease) {
                dropped(queue_[i]);
            } else {
                queue_[kept++] = queue_[i];
            }
        }
        queue_.resize(kept);
    }

    bool idle() const { return first_ == queue_.size() && n_in_flight_ == 0; }
    size_t n_in_flight() const { return n_in_flight_; }

private:
    explicit ChunkQueue(StagingPool staging) : staging_(std::move(staging)) {}

    StagingPool staging_;
    std::vector<Chunk> queue_;  // from first_ on; what is before has been started
    size_t first_ = 0;
    std::vector<Chunk> in_flight_;  // by buffer, whose number is also the request's id
    size_t n_in_flight_ = 0;
};

}  // namespace edgemoe
