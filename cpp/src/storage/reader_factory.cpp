// The cheap question (do the files grant direct reads?) is asked before the ring is tried.
#include "storage/reader_factory.h"

#include <algorithm>
#include <system_error>
#include <utility>

namespace edgemoe {
namespace {

Result<ReaderChoice> use_threads(int n_lanes, const std::string & reason) {
    try {
        return ReaderChoice{make_thread_reader(n_lanes), reason};
    } catch (const std::system_error & error) {
        return Status(StatusCode::kUnsupported,
                      std::string("reader threads: no thread could be started: ") + error.what());
    }
}

}  // namespace

Result<ReaderChoice> make_reader(const std::string & engine, const std::vector<std::shared_ptr<const File>> & files,
                                 int n_lanes) {
    if (engine != "auto" && engine != "io_uring" && engine != "threads") {
        return Status(StatusCode::kInvalidArgument,
                      "reader '" + engine + "': there is no such engine; use auto, io_uring or threads");
    }
    if (n_lanes < 1) {
        return Status(StatusCode::kInvalidArgument, "reader lanes " + std::to_string(n_lanes) +
                                                        ": at least one read must be in flight; use 1 or more");
    }
    if (engine == "threads") {
        return use_threads(n_lanes, "threads were asked for");
    }
    if (engine == "auto") {
        const auto refused =
            std::find_if(files.begin(), files.end(), [](const auto & file) { return !file->direct(); });
        if (refused != files.end()) {
            return use_threads(n_lanes, "threads, because direct reads are not possible from " + (*refused)->path() +
                                            " (" + (*refused)->direct_refusal() + ")");
        }
    }
    Result<std::unique_ptr<AsyncReader>> ring = make_io_uring_reader(n_lanes);
    if (ring.is_ok()) {
        return ReaderChoice{std::move(ring).value(),
                            engine == "auto" ? "io_uring, because a ring works here and every file grants direct reads"
                                             : "io_uring was asked for"};
    }
    if (engine == "io_uring") {
        return ring.status();
    }
    return use_threads(n_lanes, "threads, because a ring does not work here (" + ring.status().message() + ")");
}

}  // namespace edgemoe
