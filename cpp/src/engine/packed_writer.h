// Writes a packed file: a GGUF file of alignment 4096 whose experts are single 2-D tensors
// "blk.L.ffn_{gate,up,gate_up,down}_exps.E.weight", each of a type of its own, the matrices of one expert next to each
// other. docs/packed.md has the format.
//
// All types are fixed at the start, and so are all offsets: experts may come in any order, and memory is bounded by
// what the caller holds. The file is written under a temporary name in the destination's folder (storage/output_file.h)
// and has its final name only when it is whole.
#pragma once

#include "base/expert_id.h"
#include "base/status.h"
#include "engine/expert_bytes.h"
#include "engine/gguf_key_value.h"
#include "engine/gguf_source.h"
#include "engine/packed_layout.h"
#include "engine/packed_results.h"
#include "storage/output_file.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace edgemoe {

// The bytes that a packed file of `types` has, header included. kInvalidArgument as create() below.
Result<uint64_t> packed_file_bytes(const GgufSource & source, const PackedTypes & types,
                                   const std::vector<GgufKeyValue> & extra, const ExpertMaps * maps = nullptr);

// Destroyed before finish() has succeeded, it leaves no file behind.
// Threads: write_expert() may be called from several at once, for different experts; everything else from one.
class PackedWriter {
public:
    // Makes the temporary file, at its full size. `source` outlives the writer and may itself be packed; `types` has an
    // entry for each of its experts and projections. `extra`: metadata known now, beside the source's own. `maps`: what
    // predicts experts, which outlives the writer; nullptr: nothing.
    // kInvalidArgument: `types` does not fit the source (a missing matrix, a type whose blocks do not divide the row),
    // or `path` is one of the source's files. kIo: no room on the disk (the message has both figures), no permission,
    // or another process writes there.
    static Result<std::unique_ptr<PackedWriter>> create(const GgufSource & source, const std::string & path,
                                                        const PackedTypes & types,
                                                        const std::vector<GgufKeyValue> & extra,
                                                        const ExpertMaps * maps = nullptr);
    ~PackedWriter();
    PackedWriter(const PackedWriter &) = delete;
    PackedWriter & operator=(const PackedWriter &) = delete;

    // Copies all tensors that are not streamed, and the maps. `progress` (may be empty): bytes copied since the last
    // call; false stops (kCancelled).
    Status write_hot(const std::function<bool(uint64_t)> & progress = {});

    // Writes an expert's matrices, whose sizes must be those of its types. Each expert once; once more replaces it.
    Status write_expert(ExpertId id, const ExpertBytes & bytes);

    // REQUIRES: write_hot() and every write_expert() have succeeded (else kInternal, naming what is missing). Completes
    // the header: the file at temporary_path() is a whole packed file then, that can be loaded and measured.
    Status seal();
    const std::string & temporary_path() const;

    // Measured values, for the header that finish() writes.
    void set_results(const PackedResults & results);

    // Seals, makes the bytes durable (fsync) and gives the file its final name. Nothing may be called after it.
    Status finish();

private:
    PackedWriter(const GgufSource & source, PackedLayout layout, const ExpertMaps * maps)
        : source_(source), layout_(std::move(layout)), maps_(maps) {}
    std::vector<std::byte> complete_header();

    const GgufSource & source_;
    PackedLayout layout_;
    const ExpertMaps * maps_;
    std::unique_ptr<OutputFile> file_;
    PackedResults results_;
    bool hot_written_ = false;
    std::mutex mutex_;
    std::vector<bool> written_;        // by matrix; guarded by mutex_
    std::vector<uint32_t> checksums_;  // by matrix; guarded by mutex_
};

}  // namespace edgemoe
