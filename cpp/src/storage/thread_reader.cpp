// The engine that works everywhere: threads that each read with pread.
#include "storage/lane_reader.h"
#include "storage/read_progress.h"

namespace edgemoe {

std::unique_ptr<AsyncReader> make_thread_reader(int n_lanes) {
    return make_lane_reader(n_lanes, "threads",
                            [](const ReadRequest & request) { return finish_blocking(ReadProgress(request)); });
}

}  // namespace edgemoe
