// The reads that the store has decided on: matrices cut into chunks, which wait for a buffer or are in flight.
#pragma once

#include "base/expert_id.h"
#include "base/status.h"
#include "storage/async_reader.h"
#include "storage/expert_index.h"
#include "store/staging_pool.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace edgemoe {

// Why a matrix is read.
enum class ReadPurpose : uint8_t {
    kDemand,    // a lease asked for it
    kForecast,  // it is likely to be asked for
    kPrewarm,   // there is room
};

// A run of rows of a matrix: what one read brings.
struct Chunk {
    uint64_t lease = kNoLease;                   // the one that it was queued for, or that asked for it later
    ReadPurpose purpose = ReadPurpose::kDemand;  // for which it was begun
    int32_t entry = 0;
    Projection projection = Projection::kGate;
    int64_t first_row = 0;
    int64_t n_rows = 0;
    uint64_t bytes = 0;  // of the rows
    const File * file = nullptr;
    uint64_t aligned_offset = 0;     // in the file
    size_t skip_bytes = 0;           // from the aligned offset to the first byte wanted
    std::byte * in_place = nullptr;  // where the aligned offset is mapped, if the read goes there

    static constexpr uint64_t kNoLease = 0;

    // Read ahead, and not asked for since.
    bool is_ahead() const { return lease == kNoLease; }
    // The read's size.
    size_t read_bytes() const;
};

// What one read brings: the chunk it was begun for, and those of the same expert that follow it in the file, in order.
class JoinedChunks {
public:
    size_t size() const { return n_; }
    const Chunk & front() const { return chunks_[0]; }
    const Chunk * begin() const { return chunks_.data(); }
    const Chunk * end() const { return chunks_.data() + n_; }
    Chunk * begin() { return chunks_.data(); }
    Chunk * end() { return chunks_.data() + n_; }

    void clear() { n_ = 0; }
    bool is_full() const { return n_ == chunks_.size(); }
    void add(const Chunk & chunk) { chunks_[n_++] = chunk; }  // REQUIRES: !is_full()

    // From the read's first byte to a chunk's.
    size_t skip_bytes(const Chunk & chunk) const {
        return static_cast<size_t>(chunk.aligned_offset - front().aligned_offset);
    }
    // Of the whole read.
    size_t read_bytes() const;

private:
    std::array<Chunk, kProjectionCount> chunks_;
    size_t n_ = 0;
};

// Not thread-safe: guarded by the store's mutex. Nothing is allocated once the longest queue was seen.
class ChunkQueue {
public:
    // The largest read of any expert of `index`, and so the size of a buffer, with reads of up to `most_joined_bytes`.
    static uint64_t buffer_bytes(const ExpertIndex & index, uint64_t most_joined_bytes);

    // `n_buffers` reads in flight at once, each with a buffer of `buffer_bytes` (0 if all are in place), one after
    // another in `memory`, which outlives the queue. Chunks of an expert that follow each other in the file are one
    // read, up to `most_joined_bytes`; those in place never.
    ChunkQueue(std::byte * memory, size_t n_buffers, uint64_t buffer_bytes, uint64_t most_joined_bytes);

    // Queues the chunks of a matrix, in the order of its rows, and returns their number. `chunk`: lease, purpose, entry
    // and projection. `mapped`: where the matrix is mapped, to be read in place; nullptr for reads into buffers.
    int32_t add(Chunk chunk, const ExpertPart & part, const File & file, std::byte * mapped);

    // Appends requests for as many queued chunks, in order, as there are buffers. They are in flight from here on.
    // Those that are ahead only while no other is queued, and so that at most `most_ahead` of them are in flight.
    void start(std::vector<ReadRequest> * requests, size_t most_ahead = 0);

    // A lease asks for what of `entry` is being read ahead: its queued chunks come behind those of the lease, as if
    // they had not been begun; the ids of those in flight are appended to *started.
    template <typename Withdrawn>
    void promote(int32_t entry, uint64_t lease, std::vector<uint64_t> * started, Withdrawn withdrawn) {
        for (Chunk & chunk : ahead_) {
            if (chunk.entry == entry) {
                withdrawn(chunk);
                chunk.lease = lease;
                chunk.purpose = ReadPurpose::kDemand;
                queue_.push_back(chunk);
            }
        }
        drop_ahead([](const Chunk & chunk) { return !chunk.is_ahead(); }, [](const Chunk &) {});
        for (size_t buffer = 0; buffer < in_flight_.size(); buffer++) {
            InFlight & read = in_flight_[buffer];
            if (read.is_busy && read.chunks.front().is_ahead() && read.chunks.front().entry == entry) {
                for (Chunk & chunk : read.chunks) {
                    chunk.lease = lease;
                }
                n_ahead_in_flight_--;
                started->push_back(read.id);
            }
        }
    }
    // Appends the ids of those in flight that are ahead and for which `wanted` holds.
    template <typename Wanted>
    void list_ahead(Wanted wanted, std::vector<uint64_t> * ids) const {
        for (const InFlight & read : in_flight_) {
            if (read.is_busy && read.chunks.front().is_ahead() && wanted(read.chunks.front())) {
                ids->push_back(read.id);
            }
        }
    }

    // The memory of all buffers.
    std::byte * buffers() const { return staging_.data(0); }
    size_t buffers_bytes() const { return staging_.buffer_bytes() * in_flight_.size(); }

    // The chunks of a request in flight, and the first of them: they have the same expert, lease and purpose.
    const JoinedChunks & chunks(uint64_t read_id) const { return in_flight_[buffer_of(read_id)].chunks; }
    const Chunk & chunk(uint64_t read_id) const { return chunks(read_id).front(); }
    // Where the wanted bytes of one of them are. Valid until finish().
    const std::byte * data(uint64_t read_id, const Chunk & chunk) const;
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

    // Takes out the queued chunks that are ahead and for which `goes` holds, and calls `dropped` with each.
    template <typename Goes, typename Dropped>
    void drop_ahead(Goes goes, Dropped dropped) {
        size_t kept = 0;
        for (size_t i = 0; i < ahead_.size(); i++) {
            if (goes(ahead_[i])) {
                dropped(ahead_[i]);
            } else {
                ahead_[kept++] = ahead_[i];
            }
        }
        ahead_.resize(kept);
    }

    bool idle() const { return n_in_flight_ == 0 && !has_queued_demand() && ahead_.empty(); }
    size_t n_in_flight() const { return n_in_flight_; }
    size_t n_ahead_in_flight() const { return n_ahead_in_flight_; }
    size_t n_ahead_queued() const { return ahead_.size(); }
    bool has_ahead() const { return n_ahead_in_flight_ > 0 || !ahead_.empty(); }
    bool has_queued_demand() const { return first_ < queue_.size(); }
    bool has_free_buffer() const { return !staging_.empty(); }

private:
    struct InFlight {
        JoinedChunks chunks;
        uint64_t id = 0;  // of its request: rises by the number of buffers, so that no two requests have the same
        bool is_busy = false;
    };

    size_t buffer_of(uint64_t read_id) const { return static_cast<size_t>(read_id % in_flight_.size()); }
    size_t start(const std::vector<Chunk> & chunks, size_t first, std::vector<ReadRequest> * requests);

    StagingPool staging_;
    uint64_t most_joined_bytes_;
    std::vector<Chunk> queue_;  // from first_ on; what is before has been started
    size_t first_ = 0;
    std::vector<Chunk> ahead_;         // queued, and no lease asked for them; started when queue_ is empty
    std::vector<InFlight> in_flight_;  // by buffer
    size_t n_in_flight_ = 0;
    size_t n_ahead_in_flight_ = 0;  // of these, those that are ahead
};

}  // namespace edgemoe
