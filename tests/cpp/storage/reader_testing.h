// What tests of readers share: the engines to run over, and files and memory ready for reads.
#pragma once

#include "storage/aligned_memory.h"
#include "storage/async_reader.h"
#include "storage/file.h"
#include "temporary_file.h"

#include <doctest/doctest.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace edgemoe::test {

constexpr std::array<const char *, 2> kEngines = {"threads", "uring"};

// The engine, or nullptr with a message where this machine or build does not have it.
inline std::unique_ptr<AsyncReader> make_engine(const std::string & engine, int n_lanes) {
    if (engine == "threads") {
        return make_thread_reader(n_lanes);
    }
    Result<std::unique_ptr<AsyncReader>> ring = make_io_uring_reader(n_lanes);
    if (!ring.is_ok()) {
        MESSAGE("skipped: " << ring.status().message());
        return nullptr;
    }
    return std::move(ring).value();
}

inline std::shared_ptr<const File> open_file(const std::string & path, bool want_direct) {
    Result<std::shared_ptr<const File>> file = File::open(path, want_direct);
    REQUIRE_MESSAGE(file.is_ok(), file.status().message());
    return file.value();
}

inline AlignedMemory allocate(size_t bytes, AlignedMemory::Access access = AlignedMemory::Access::kReadWrite) {
    Result<AlignedMemory> memory = AlignedMemory::allocate(bytes, access);
    REQUIRE_MESSAGE(memory.is_ok(), memory.status().message());
    return std::move(memory).value();
}

// `n` reads of `bytes` each, one after the other in file and memory, with ids from 0.
inline std::vector<ReadRequest> consecutive_reads(const File & file, std::byte * memory, size_t n, size_t bytes,
                                                  ReadPriority priority = ReadPriority::kDemand) {
    std::vector<ReadRequest> requests;
    for (size_t i = 0; i < n; ++i) {
        requests.push_back({i, &file, i * bytes, bytes, memory + i * bytes, priority});
    }
    return requests;
}

// Everything that is in flight, in the order of delivery.
inline std::vector<ReadCompletion> wait_for_all(AsyncReader * reader) {
    std::vector<ReadCompletion> completions;
    while (reader->wait(&completions) > 0) {
    }
    return completions;
}

inline std::vector<uint64_t> ids_of(const std::vector<ReadCompletion> & completions) {
    std::vector<uint64_t> ids;
    for (const ReadCompletion & completion : completions) {
        ids.push_back(completion.id);
    }
    return ids;
}

}  // namespace edgemoe::test
