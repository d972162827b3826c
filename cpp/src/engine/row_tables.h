// Which tensors of a model are tables of rows that may stay on flash, and the tables themselves.
#pragma once

#include "base/status.h"
#include "engine/gguf_source.h"
#include "engine/load_options.h"
#include "storage/async_reader.h"
#include "store/row_table.h"

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace edgemoe {

constexpr size_t kRowWindowBytes = 4 << 20;  // of a table
constexpr int kRowLanes = 4;                 // reads in flight at once, all tables together

// Numbers of the tensors that the graph only gathers rows from: the token embedding where the output head is a tensor
// of its own, and embeddings per layer. Toggle::kAuto: those larger than their window; kOn: all; kOff: none.
std::vector<size_t> find_row_tables(const GgufSource & source, Toggle wanted);

// The pattern (std::regex) of one tensor's name.
std::string exact_pattern(const std::string & name);

uint64_t row_table_bytes(const GgufSource & source, const std::vector<size_t> & tensors);
// Windows and read buffers.
uint64_t row_window_bytes(const GgufSource & source, const std::vector<size_t> & tensors);

// Owns the tables and their reader. One thread at a time, but read_bytes() for any.
class RowTables {
public:
    // `source` outlives the object.
    static Result<std::unique_ptr<RowTables>> create(const GgufSource & source, const std::vector<size_t> & tensors,
                                                     const std::string & io);

    // By the tensor's name.
    const std::map<std::string, std::unique_ptr<RowTable>> & tables() const { return tables_; }
    uint64_t read_bytes() const;

private:
    RowTables() = default;
    std::unique_ptr<AsyncReader> reader_;
    std::map<std::string, std::unique_ptr<RowTable>> tables_;
};

}  // namespace edgemoe
