// Matrices that are rounded already, in a file beside the output: a second start of `edgemoe pack` goes on where the
// first one was, and a changed allocation rounds only what changed.
//
// An append-only sequence of records (key, flags, bytes, checksums). A record that was cut off by the end of its writer
// ends the file when it is opened again. Nothing is forced to the disk: after a crash of the machine the checksums say
// what is there.
#pragma once

#include "base/expert_id.h"
#include "base/status.h"

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <tuple>
#include <vector>

namespace edgemoe {

// Which matrix in which type.
struct RoundedKey {
    ExpertId id;
    Projection projection = Projection::kGate;
    int32_t type = 0;  // a ggml_type

    friend bool operator<(const RoundedKey & a, const RoundedKey & b) {
        return std::tie(a.id.layer, a.id.expert, a.projection, a.type) <
               std::tie(b.id.layer, b.id.expert, b.projection, b.type);
    }
};

struct RoundedPart {
    bool feedback = false;         // by error feedback, which won on text that was not fitted; else ggml's own integers
    double error = 0;              // quadratic error on the text that was not fitted
    double nearest_error = 0;      // the same of ggml's own integers
    std::vector<std::byte> bytes;  // ggml blocks
};

// append() and read() from any thread, for different keys; everything else from one thread at a time.
class RoundingJournal {
public:
    // Opens the journal at `path`, or makes it. `identity` stands for everything that the parts depend on: the journal
    // of another identity is emptied. kIo: no permission, or another process packs to the same output.
    static Result<std::unique_ptr<RoundingJournal>> open(const std::string & path, uint64_t identity);
    ~RoundingJournal();
    RoundingJournal(const RoundingJournal &) = delete;
    RoundingJournal & operator=(const RoundingJournal &) = delete;

    const std::string & path() const { return path_; }
    // Parts that were there when it was opened.
    size_t n_found() const { return n_found_; }
    bool contains(const RoundedKey & key) const;

    // kIo: the disk is full, or the like. A part of the same key that is there already is replaced.
    Status append(const RoundedKey & key, const RoundedPart & part);
    // REQUIRES: contains(key). kIo, or kFormat where the bytes are no longer those that were written.
    Result<RoundedPart> read(const RoundedKey & key) const;

    // Deletes the file: the output is complete.
    Status remove();

private:
    struct Place {
        uint64_t offset = 0;  // of the record's header
        uint64_t bytes = 0;   // of the matrix
    };

    RoundingJournal(std::string path, int fd) : path_(std::move(path)), fd_(fd) {}
    Status scan(uint64_t identity);

    std::string path_;
    int fd_;
    size_t n_found_ = 0;
    mutable std::mutex mutex_;
    std::map<RoundedKey, Place> places_;  // guarded by mutex_
    uint64_t end_ = 0;                    // guarded by mutex_; where the next record goes
};

}  // namespace edgemoe
