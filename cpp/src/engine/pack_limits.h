// From the limit that a user gave to an allocation of types, and what other limits would give.
#pragma once

#include "base/status.h"
#include "engine/job_progress.h"
#include "engine/pack_inputs.h"
#include "engine/type_allocator.h"

#include <cstdint>
#include <vector>

namespace edgemoe {

// Knows the types' speeds and, for the objective kReadBytes, what bytes cost behind options.target_cache_bytes. Types
// and prices depend on each other, and are found by turns; from then on prices stay, so that a larger limit never costs
// more. kCancelled.
Result<TypeAllocator> make_allocator(const PackInputs & inputs, const PackOptions & options,
                                     const JobProgress & progress);

// kInvalidArgument unless exactly one limit is given, and one that the objective allows.
Status check_limit(const PackOptions & options);

// The allocation for the limit in `options`; of a tolerated divergence, for the same expected one. kOutOfBudget, with
// the least there is, if it cannot be kept.
Result<TypeAllocation> allocate_for_limit(const TypeAllocator & allocator, const PackInputs & inputs,
                                          const PackOptions & options);

// The bytes of the packed file of an allocation.
Result<uint64_t> packed_bytes(const PackInputs & inputs, const PackOptions & options,
                              const TypeAllocation & allocation);

// The expected figures of other sizes, by rising bits.
Result<std::vector<PackPoint>> pack_curve(const TypeAllocator & allocator, const PackInputs & inputs,
                                          const PackOptions & options);

}  // namespace edgemoe
