#include "storage/reader_probe.h"

#include "base/checked.h"
#include "storage/aligned_memory.h"

#include <chrono>
#include <string>
#include <vector>

namespace edgemoe {

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

}  // namespace edgemoe
