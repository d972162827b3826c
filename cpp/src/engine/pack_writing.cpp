#include "engine/pack_writing.h"

#include "engine/expert_bytes.h"
#include "engine/memory_plan.h"
#include "engine/pack_metadata.h"
#include "engine/pack_rounding.h"
#include "engine/parallel_work.h"

#include <atomic>
#include <utility>
#include <vector>

namespace edgemoe {

namespace {

struct ChosenTypes {
    ExpertId id;
    const ExpertTypes * types = nullptr;
};

std::vector<ChosenTypes> all_experts(const GgufSource & source, const PackedTypes & types) {
    std::vector<ChosenTypes> experts;
    const std::vector<ExpertLayer> & layers = source.experts().layers();
    for (size_t layer = 0; layer < layers.size(); layer++) {
        for (size_t expert = 0; expert < types[layer].size(); expert++) {
            experts.push_back({ExpertId{layers[layer].layer, static_cast<int32_t>(expert)}, &types[layer][expert]});
        }
    }
    return experts;
}

}  // namespace

Result<WrittenPack> write_pack(const PackInputs & inputs, const PackOptions & options, const std::string & output,
                               const TypeAllocation & allocation, const RoundingJournal & journal,
                               const JobProgress & progress) {
    const GgufSource & source = inputs.source();
    Result<std::unique_ptr<PackedWriter>> created = PackedWriter::create(
        source, output, allocation.types, pack_metadata(inputs, options, allocation), &inputs.profile().maps);
    if (!created.is_ok()) {
        return created.status();
    }
    PackedWriter & writer = *created.value();
    ProgressMeter meter(progress, "writing");
    if (!meter.report(0)) {
        return Status(StatusCode::kCancelled, output + ": packing was stopped");
    }
    Status status = writer.write_hot([&](uint64_t) { return meter.poll(); });
    if (!status.is_ok()) {
        return status;
    }
    const std::vector<ChosenTypes> experts = all_experts(source, allocation.types);
    std::atomic<uint64_t> n_matrices{0};
    std::atomic<uint64_t> n_feedback{0};
    status = run_in_parallel(
        experts.size(), thread_count(options.load),
        [&](size_t i, int) {
            const ExpertId id = experts[i].id;
            ExpertBytes bytes;
            for (size_t p = 0; p < kProjectionCount; p++) {
                const int32_t type = (*experts[i].types)[p];
                const auto projection = static_cast<Projection>(p);
                if (is_rounded(source, id, p, type)) {
                    Result<RoundedPart> part = journal.read({id, projection, type});
                    if (!part.is_ok()) {
                        return part.status();
                    }
                    n_matrices++;
                    n_feedback += part.value().feedback ? 1 : 0;
                    bytes[p] = std::move(part.value().bytes);
                } else if (type != kNoType) {
                    Status read = read_matrix(source, id, projection, &bytes[p]);
                    if (!read.is_ok()) {
                        return read;
                    }
                }
            }
            return writer.write_expert(id, bytes);
        },
        [&](size_t n_done) { return meter.report(static_cast<double>(n_done) / static_cast<double>(experts.size())); });
    if (status.is_ok()) {
        status = writer.seal();
    }
    if (!status.is_ok()) {
        return status;
    }
    WrittenPack written;
    written.writer = std::move(created).value();
    written.n_matrices = n_matrices;
    written.n_feedback = n_feedback;
    return written;
}

}  // namespace edgemoe
