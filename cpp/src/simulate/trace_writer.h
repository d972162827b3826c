// Writes a routing trace in the format that parse_trace reads (docs/traces.md), row by row. One thread at a time.
#pragma once

#include "base/status.h"
#include "simulate/trace.h"

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

namespace edgemoe {

// What a trace says about its model.
struct TraceHeader {
    std::string model;  // its spaces become "_"
    std::string architecture;
    PolicyShape shape;
    int32_t n_experts_used = 0;
    std::vector<uint64_t> layer_bytes;  // by layer, of one expert; 0: the layer has none
};

class TraceWriter {
public:
    // Creates or replaces the file and writes the header. kIo with the reason.
    static Result<std::unique_ptr<TraceWriter>> create(const std::string & path, const TraceHeader & header);

    // One choice of the router. `token` counts the tokens of the recording. A failure is kept for close().
    void add(int64_t turn, TracePhase phase, int64_t token, int32_t layer, int32_t slot, int32_t expert);

    // What a predictor says of the next use of the experts of the layer whose choice was added last.
    void add_scores(const float * scores, size_t n);

    // Writes what is buffered and closes the file: kIo when that, or any add(), failed. REQUIRES: called at most once;
    // without it the destructor closes, and failures are lost.
    Status close();

private:
    struct Closer {
        void operator()(std::FILE * file) const { std::fclose(file); }
    };

    TraceWriter(std::string path, std::FILE * file) : path_(std::move(path)), file_(file) {}

    std::string path_;
    std::unique_ptr<std::FILE, Closer> file_;
};

}  // namespace edgemoe
