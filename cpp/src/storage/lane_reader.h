// The machinery of engines that read with blocking calls: threads that take requests in turn.
#pragma once

#include "storage/async_reader.h"

#include <memory>

namespace edgemoe {

// Makes one read; blocks. Called by several threads at once.
using BlockingRead = ReadCompletion (*)(const ReadRequest & request);

// `n_lanes` threads (at least one) that call `read`. `name` outlives the reader. Throws std::system_error when not even
// one thread can be started.
std::unique_ptr<AsyncReader> make_lane_reader(int n_lanes, const char * name, BlockingRead read);

}  // namespace edgemoe
