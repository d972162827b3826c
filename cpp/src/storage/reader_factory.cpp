// The cheap questions (may it be mapped, do the files grant direct reads, does a ring work) come before the probe.
#include "storage/reader_factory.h"

#include "storage/reader_probe.h"

#include <algorithm>
#include <cmath>
#include <system_error>
#include <utility>

namespace edgemoe {
namespace {

constexpr double kNearlyAll = 0.9;  // of the experts: few evictions, which cost a mapping more than a slot
// By how much threads have to be faster at nothing but reading. To hand over a read, and to be told of its end, takes
// them tens of microseconds, which the probe does not see and small reads feel; and where other programs keep both
// processors busy, eight threads get more of them than the one that waits for a ring: docs/io.md.
constexpr double kClearlyFaster = 1.15;
constexpr double kClearlyFasterAtSmallReads = 3;
constexpr size_t kSmallReadBytes = size_t{256} << 10;

using MakeReader = std::unique_ptr<AsyncReader> (*)(int n_lanes);

Result<ReaderChoice> use_lanes(MakeReader make, int n_lanes, const std::string & reason, bool in_place = false) {
    try {
        return ReaderChoice{make(n_lanes), reason, in_place};
    } catch (const std::system_error & error) {
        return Status(StatusCode::kUnsupported,
                      std::string("reader threads: no thread could be started: ") + error.what());
    }
}

// "1.93 GB/s"
std::string speed(double bytes_per_second) {
    const auto hundredths = static_cast<int64_t>(std::lround(bytes_per_second / 1e7));
    const std::string digits = std::to_string(100 + hundredths % 100).substr(1);
    return std::to_string(hundredths / 100) + "." + digits + " GB/s";
}

std::string percent(double share) {
    return std::to_string(std::lround(100 * std::min(share, 1.0))) + "%";
}

// `ring` or threads, whichever reads faster.
Result<ReaderChoice> use_faster(const ReaderNeeds & needs, std::unique_ptr<AsyncReader> ring) {
    const File & file = **std::max_element(needs.files.begin(), needs.files.end(), [](const auto & a, const auto & b) {
        return a->size_bytes() < b->size_bytes();
    });
    const double clearly = needs.read_bytes <= kSmallReadBytes ? kClearlyFasterAtSmallReads : kClearlyFaster;
    Result<ReaderChoice> threads = use_lanes(make_thread_reader, needs.n_lanes, "");
    const Result<ReaderSpeeds> speeds = threads.is_ok()
                                            ? compare_readers(*ring, *threads.value().reader, file, needs.read_bytes,
                                                              static_cast<size_t>(needs.n_lanes), clearly)
                                            : Result<ReaderSpeeds>(threads.status());
    if (!speeds.is_ok()) {
        return ReaderChoice{std::move(ring), "uring, because a ring works here and every file grants direct reads"};
    }
    const double by_ring = speeds.value().usual, by_threads = speeds.value().other;
    const bool is_ring = by_ring * clearly >= by_threads;
    const std::string reason = std::string(is_ring ? "uring" : "threads") + ", because reads of " +
                               std::to_string(needs.read_bytes >> 10) + " KiB came at " + speed(by_ring) +
                               " through a ring and at " + speed(by_threads) + " with threads";
    return ReaderChoice{is_ring ? std::move(ring) : std::move(threads.value().reader), reason};
}

Result<ReaderChoice> choose(const ReaderNeeds & needs) {
    if (needs.may_map && needs.kept_share >= kNearlyAll) {
        return use_lanes(make_mmap_reader, needs.n_lanes,
                         "mmap, because " + percent(needs.kept_share) +
                             " of the experts fit and they are multiplied as they lie in the file",
                         true);
    }
    const auto refused =
        std::find_if(needs.files.begin(), needs.files.end(), [](const auto & file) { return !file->direct(); });
    if (refused != needs.files.end()) {
        return use_lanes(make_thread_reader, needs.n_lanes,
                         "threads, because direct reads are not possible from " + (*refused)->path() + " (" +
                             (*refused)->direct_refusal() + ")");
    }
    Result<std::unique_ptr<AsyncReader>> ring = make_io_uring_reader(needs.n_lanes);
    if (!ring.is_ok()) {
        return use_lanes(make_thread_reader, needs.n_lanes,
                         "threads, because a ring does not work here (" + ring.status().message() + ")");
    }
    if (needs.files.empty()) {
        return ReaderChoice{std::move(ring).value(), "uring, because a ring works here"};
    }
    return use_faster(needs, std::move(ring).value());
}

}  // namespace

Result<ReaderChoice> make_reader(const ReaderNeeds & needs) {
    if (needs.n_lanes < 1) {
        return Status(StatusCode::kInvalidArgument, "reader lanes " + std::to_string(needs.n_lanes) +
                                                        ": at least one read must be in flight; use 1 or more");
    }
    if (needs.engine == "auto") {
        return choose(needs);
    }
    if (needs.engine == "threads") {
        return use_lanes(make_thread_reader, needs.n_lanes, "threads were asked for");
    }
    if (needs.engine == "mmap") {
        return use_lanes(make_mmap_reader, needs.n_lanes, "mmap was asked for", true);
    }
    if (needs.engine == "uring") {
        Result<std::unique_ptr<AsyncReader>> ring = make_io_uring_reader(needs.n_lanes);
        if (!ring.is_ok()) {
            return ring.status();
        }
        return ReaderChoice{std::move(ring).value(), "uring was asked for"};
    }
    return Status(StatusCode::kInvalidArgument,
                  "reader '" + needs.engine + "': there is no such engine; use auto, uring, threads or mmap");
}

}  // namespace edgemoe
