// A table of which only single rows are used (token embeddings), left on flash: rows pass through a window of the most
// recently used ones.
#pragma once

#include "base/status.h"
#include "storage/aligned_memory.h"
#include "storage/async_reader.h"
#include "storage/file.h"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <unordered_map>
#include <vector>

namespace edgemoe {

// Where a table is: rows one after the other.
struct RowTablePlace {
    const File * file = nullptr;  // outlives the table
    uint64_t offset = 0;
    size_t row_bytes = 0;
    int64_t n_rows = 0;
};

// One thread at a time, but read_bytes() for any.
class RowTable {
public:
    // `window_bytes`: rows kept, at least one. `reader` outlives the table; other tables may use it in turn.
    static Result<std::unique_ptr<RowTable>> create(const RowTablePlace & place, size_t window_bytes,
                                                    AsyncReader & reader);

    // What a table takes: its window and the buffers of its reads.
    static uint64_t memory_bytes(const RowTablePlace & place, size_t window_bytes);

    // Calls `use` once for each distinct row among `rows`, in no particular order, with the places in `rows` at which
    // it was asked for and the row's bytes, which are valid during the call. Rows that are not in the window are read
    // together, several at once; neighbours by one read. There may be more of them than fit the window.
    // kInvalidArgument for a row that does not exist; the reader's failure.
    using Use = std::function<void(const std::vector<size_t> & places, const std::byte * row)>;
    Status visit(const std::vector<int32_t> & rows, const Use & use);

    uint64_t read_bytes() const { return read_bytes_.load(std::memory_order_relaxed); }

private:
    RowTable(const RowTablePlace & place, AsyncReader & reader, AlignedMemory window, size_t n_slots);
    void keep(int32_t row, const std::byte * bytes);

    struct Kept {
        size_t slot = 0;
        std::list<int32_t>::iterator age;  // in by_age_
    };

    const RowTablePlace place_;
    AsyncReader & reader_;
    AlignedMemory window_;
    size_t n_slots_;
    std::list<int32_t> by_age_;  // the most recently used first
    std::unordered_map<int32_t, Kept> kept_;
    std::atomic<uint64_t> read_bytes_{0};
};

}  // namespace edgemoe
