// Puts a packed file together from the model's hot weights and the journal's rounded matrices.
#pragma once

#include "base/status.h"
#include "engine/pack_inputs.h"
#include "engine/packed_writer.h"
#include "engine/rounding_journal.h"
#include "engine/type_allocator.h"

#include <cstdint>
#include <memory>
#include <string>

namespace edgemoe {

struct WrittenPack {
    std::unique_ptr<PackedWriter> writer;  // sealed
    uint64_t n_matrices = 0;               // that were rounded
    uint64_t n_feedback = 0;               // of these, by error feedback
};

// Writes `output` under its temporary name. REQUIRES: round_missing() has succeeded for this allocation. kCancelled,
// and as PackedWriter::create.
Result<WrittenPack> write_pack(const PackInputs & inputs, const PackOptions & options, const std::string & output,
                               const TypeAllocation & allocation, const RoundingJournal & journal,
                               const JobProgress & progress);

}  // namespace edgemoe
