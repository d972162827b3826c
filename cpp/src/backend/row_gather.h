// GET_ROWS over a table that stays on flash, by ggml's own kernel.
#pragma once

#include "base/status.h"
#include "store/row_table.h"

#include "ggml-cpu.h"
#include "ggml.h"

#include <cstdint>
#include <memory>
#include <vector>

namespace edgemoe {

// Keeps what is reused from call to call. One thread at a time.
class RowGather {
public:
    RowGather();
    ~RowGather();

    // True for a GET_ROWS that compute() can do: a two-dimensional table, any shape of row numbers.
    static bool supports(const ggml_tensor * node);

    // `node`: such a GET_ROWS over `table`. Equal to the last bit to ggml's own on the CPU: every row is converted by
    // its kernel.
    Status compute(RowTable & table, ggml_tensor * node);

private:
    struct ThreadPoolDeleter {
        void operator()(ggml_threadpool * pool) const { ggml_threadpool_free(pool); }
    };

    void convert(const ggml_tensor & table, const std::byte * row, char * destination);

    std::unique_ptr<ggml_threadpool, ThreadPoolDeleter> pool_;  // of one thread: the calling one
    std::vector<uint8_t> metadata_;
    std::vector<uint8_t> work_;
};

}  // namespace edgemoe
