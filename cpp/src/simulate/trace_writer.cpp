#include "simulate/trace_writer.h"

#include <algorithm>
#include <cerrno>
#include <cinttypes>
#include <cstring>
#include <utility>

namespace edgemoe {
namespace {

// Header pairs are separated by spaces, and a line is a line.
std::string one_word(std::string text) {
    std::replace_if(
        text.begin(), text.end(), [](char c) { return c == ' ' || c == '\n' || c == '\r'; }, '_');
    return text;
}

}  // namespace

Result<std::unique_ptr<TraceWriter>> TraceWriter::create(const std::string & path, const TraceHeader & header) {
    std::FILE * file = std::fopen(path.c_str(), "wb");
    if (file == nullptr) {
        return Status(StatusCode::kIo, path + ": cannot be written: " + std::strerror(errno));
    }
    std::unique_ptr<TraceWriter> writer(new TraceWriter(path, file));
    std::fprintf(file,
                 "# route_trace v1\n# model=%s arch=%s n_layer=%" PRId32 " n_expert=%" PRId32 " n_expert_used=%" PRId32
                 "\n",
                 one_word(header.model).c_str(), one_word(header.architecture).c_str(), header.shape.n_layers,
                 header.shape.n_experts, header.n_experts_used);
    for (size_t layer = 0; layer < header.layer_bytes.size(); ++layer) {
        if (header.layer_bytes[layer] > 0) {
            std::fprintf(file, "# layer=%zu expert_bytes=%" PRIu64 "\n", layer, header.layer_bytes[layer]);
        }
    }
    std::fputs("turn,phase,step,layer,slot,expert\n", file);
    return writer;
}

void TraceWriter::add(int64_t turn, TracePhase phase, int64_t token, int32_t layer, int32_t slot, int32_t expert) {
    std::fprintf(file_.get(), "%" PRId64 ",%d,%" PRId64 ",%" PRId32 ",%" PRId32 ",%" PRId32 "\n", turn,
                 phase == TracePhase::kDecode ? 1 : 0, token, layer, slot, expert);
}

// With as many digits as tell any two float32 apart.
void TraceWriter::add_scores(const float * scores, size_t n) {
    std::fputs("# next_use", file_.get());
    for (size_t i = 0; i < n; ++i) {
        std::fprintf(file_.get(), " %.9g", static_cast<double>(scores[i]));
    }
    std::fputc('\n', file_.get());
}

Status TraceWriter::close() {
    const bool failed = std::ferror(file_.get()) != 0;
    errno = 0;
    if (std::fclose(file_.release()) != 0 || failed) {
        return {StatusCode::kIo, path_ + ": the trace could not be written whole" +
                                     (errno != 0 ? std::string(": ") + std::strerror(errno) : std::string())};
    }
    return Status::ok();
}

}  // namespace edgemoe
