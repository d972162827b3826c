#include "storage/reader_probe.h"

#include "base/checked.h"
#include "storage/aligned_memory.h"

#include <algorithm>
#include <chrono>
#include <string>
#include <vector>

namespace edgemoe {

namespace {

// A single batch of small reads scatters: the fastest of several counts, as long as they are short.
constexpr uint64_t kRounds = 4;
constexpr std::chrono::milliseconds kShortRounds{8};
constexpr uint64_t kMostRounds = 16;
constexpr std::chrono::milliseconds kLongestComparison{100};

}  // namespace

Result<double> probe_reader(AsyncReader & reader, const File & file, const ProbePlan & plan) {
    const uint64_t n_places = file.size_bytes() / plan.read_bytes;
    const uint64_t stride = n_places / (plan.n_reads * plan.step);
    if (stride == 0) {
        return Status(StatusCode::kUnsupported,
                      file.path() + ": too small to measure reads of " + std::to_string(plan.read_bytes) + " bytes");
    }
    Result<AlignedMemory> memory =
        AlignedMemory::allocate(plan.n_reads * plan.read_bytes, AlignedMemory::Access::kReadWrite);
    if (!memory.is_ok()) {
        return memory.status();
    }
    std::vector<ReadRequest> requests;
    for (size_t i = 0; i < plan.n_reads; i++) {
        ReadRequest request;
        request.id = i;
        request.file = &file;
        request.offset = align_down((plan.first + i * plan.step) * stride * plan.read_bytes, kDirectAlignment);
        request.bytes = plan.read_bytes;
        request.destination = memory.value().data() + i * plan.read_bytes;
        requests.push_back(request);
    }
    const auto start = std::chrono::steady_clock::now();
    reader.submit(requests);
    std::vector<ReadCompletion> completions;
    while (reader.wait(&completions) > 0) {
    }
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    double bytes = 0;
    for (const ReadCompletion & completion : completions) {
        if (!completion.status.is_ok()) {
            return completion.status;
        }
        bytes += static_cast<double>(completion.bytes_read);
    }
    return bytes / seconds;
}

Result<ReaderSpeeds> compare_readers(AsyncReader & usual, AsyncReader & other, const File & file, size_t read_bytes,
                                     size_t n_reads, double clearly) {
    using Clock = std::chrono::steady_clock;
    const uint64_t n_batches = file.size_bytes() / (read_bytes * n_reads);
    const uint64_t most_rounds = std::clamp<uint64_t>(n_batches / 2, 1, kMostRounds);
    ReaderSpeeds speeds;
    const Clock::time_point begin = Clock::now();
    for (uint64_t round = 0; round < most_rounds; round++) {
        const bool is_open = speeds.other > clearly * speeds.usual;
        const auto spent = Clock::now() - begin;
        if (spent >= (is_open ? kLongestComparison : kShortRounds) || (round >= kRounds && !is_open)) {
            break;
        }
        ProbePlan plan;
        plan.read_bytes = read_bytes;
        plan.n_reads = n_reads;
        plan.step = 2 * static_cast<size_t>(most_rounds);
        plan.first = 2 * static_cast<size_t>(round);
        const Result<double> by_usual = probe_reader(usual, file, plan);
        plan.first++;
        const Result<double> by_other = probe_reader(other, file, plan);
        if (!by_usual.is_ok() || !by_other.is_ok()) {
            return by_usual.is_ok() ? by_other.status() : by_usual.status();
        }
        speeds.usual = std::max(speeds.usual, by_usual.value());
        speeds.other = std::max(speeds.other, by_other.value());
    }
    return speeds;
}

}  // namespace edgemoe
