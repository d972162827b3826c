// How bytes come from flash: the interface that every I/O engine implements.
//
// Contract, for every implementation:
//   * submit() and reap() never block on I/O; wait() may.
//   * Every accepted request completes exactly once, also when it failed or was cancelled, and until its
//     completion was returned by reap() or wait(), its destination belongs to the reader.
//   * Short reads, EINTR and EAGAIN are retried inside. A completion with an ok status has all its bytes,
//     unless the file ended: then `bytes_read` is smaller than the request and the caller decides.
//   * Thread-safe: any thread may call any function at any time.
//   * The destructor waits for what is in flight; completions that nobody reaped are dropped.
#pragma once

#include "base/status.h"
#include "storage/file.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace edgemoe {

enum class ReadPriority : uint8_t {
    kDemand = 0,    // computation waits for it
    kPrefetch = 1,  // a guess; started only when no demand read waits
};

// REQUIRES: offset, bytes and destination are multiples of kDirectAlignment; `file` and `destination` outlive the
// completion. `bytes` may reach past the end of the file (padding to the alignment).
struct ReadRequest {
    uint64_t id = 0;  // the caller's; unique among requests in flight
    const File * file = nullptr;
    uint64_t offset = 0;
    size_t bytes = 0;
    std::byte * destination = nullptr;
    ReadPriority priority = ReadPriority::kDemand;
};

struct ReadCompletion {
    uint64_t id = 0;
    Status status;          // kIo names file, offset and reason; kCancelled after cancel()
    size_t bytes_read = 0;  // from the file; the rest of the destination is untouched
};

class AsyncReader {
public:
    virtual ~AsyncReader() = default;

    // Says where reads will come from and go to, if that is known: an engine may register both with the kernel. Other
    // files and destinations work all the same. `files` and `memory` outlive the reader. REQUIRES: nothing is in
    // flight.
    virtual void prepare(const std::vector<std::shared_ptr<const File>> & files, std::byte * memory, size_t bytes) {
        static_cast<void>(files);
        static_cast<void>(memory);
        static_cast<void>(bytes);
    }

    // Accepts all of `requests` (they are copied). Starts demand reads before prefetch reads, each in order of
    // submission.
    virtual void submit(const std::vector<ReadRequest> & requests) = 0;

    // Appends the completions that are there to *completions and returns their number (0: none is there now).
    virtual size_t reap(std::vector<ReadCompletion> * completions) = 0;

    // Like reap(), but blocks until there is at least one; returns 0 only when nothing is in flight. Several threads
    // may wait: each completion goes to exactly one of them, and all return when the last one was delivered.
    virtual size_t wait(std::vector<ReadCompletion> * completions) = 0;

    // Asks for the request to be dropped. It still completes (kCancelled if it was not started, otherwise as it ends).
    // An unknown or completed id is ignored.
    virtual void cancel(uint64_t id) = 0;

    // Makes a queued prefetch a demand read. An unknown, started or completed id is ignored.
    virtual void promote(uint64_t id) = 0;

    // "uring", "threads", "mmap"; for the mode line.
    virtual const char * name() const = 0;
};

// `n_lanes` is how many reads are in flight at once. One factory a file, named after the engine. Those with threads
// throw std::system_error when not even one can be started.
std::unique_ptr<AsyncReader> make_thread_reader(int n_lanes);

// Reads in place: a request's destination is where its file's byte `offset` is mapped (FileMapping), and completes when
// those pages are resident.
std::unique_ptr<AsyncReader> make_mmap_reader(int n_lanes);

// Fails with kUnsupported and the reason (built without liburing, forbidden by a sandbox, opcode missing): it is found
// out by really creating a ring and reading through it.
Result<std::unique_ptr<AsyncReader>> make_io_uring_reader(int n_lanes);

}  // namespace edgemoe
