// Compiled instead of io_uring_reader.cpp when liburing is absent or not wanted.
#include "storage/async_reader.h"

namespace edgemoe {

Result<std::unique_ptr<AsyncReader>> make_io_uring_reader(int /*n_lanes*/) {
    return Status(StatusCode::kUnsupported,
                  "io_uring: this build has no io_uring; install liburing and build with -DEDGEMOE_IO_URING=ON");
}

}  // namespace edgemoe
