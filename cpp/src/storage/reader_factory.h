// Chooses the I/O engine for a model's files, and says why.
#pragma once

#include "base/status.h"
#include "storage/async_reader.h"
#include "storage/file.h"

#include <memory>
#include <string>
#include <vector>

namespace edgemoe {

struct ReaderChoice {
    std::unique_ptr<AsyncReader> reader;  // never null
    std::string reason;  // one sentence for the mode line; names what refused the engine that was better
};

// `engine` is "io_uring" or "threads", or "auto": io_uring where a ring works and every file grants direct reads (reads
// through the page cache gain nothing from a ring), otherwise threads. `n_lanes` is how many reads are in flight at
// once. Fails with kInvalidArgument for another name or no lanes, and with the refusal when the named engine does not
// work here; "auto" fails only when no thread can be started. Pure but for the probe; any thread.
Result<ReaderChoice> make_reader(const std::string & engine, const std::vector<std::shared_ptr<const File>> & files,
                                 int n_lanes);

}  // namespace edgemoe
