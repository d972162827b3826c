// Chooses the I/O engine for a model's files, and says why.
#pragma once

#include "base/status.h"
#include "storage/async_reader.h"
#include "storage/file.h"

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

namespace edgemoe {

struct ReaderNeeds {
    std::string engine = "auto";  // "auto", "uring", "threads" or "mmap"
    std::vector<std::shared_ptr<const File>> files;
    int n_lanes = 1;                      // reads in flight at once; at least 1
    size_t read_bytes = size_t{1} << 20;  // of one read, as they will be made; a multiple of kDirectAlignment
    // Whether "auto" may choose mmap: matrices would be multiplied as they lie in the file anyway.
    bool may_map = false;
    double kept_share = 0;  // of the experts' bytes: what the memory figure lets stay
};

struct ReaderChoice {
    std::unique_ptr<AsyncReader> reader;  // never null
    std::string reason;     // one sentence for the mode line; names what refused the engine that was better
    bool in_place = false;  // destinations are mappings of the files (make_mmap_reader)
};

// "auto": mmap where it may and nearly all experts stay; threads where a file does not grant direct reads (reads
// through the page cache gain nothing from a ring) or a ring does not work; otherwise uring, unless threads read
// clearly faster from the largest file: both read up to n_lanes blocks of read_bytes, small ones several times, which
// takes some milliseconds on a disk of some GB/s. A file that is too small for that is not measured. Fails with
// kInvalidArgument for another name or no lanes, and with the refusal when the named engine does not work here; "auto"
// fails only when no thread can be started. Any thread.
Result<ReaderChoice> make_reader(const ReaderNeeds & needs);

}  // namespace edgemoe
