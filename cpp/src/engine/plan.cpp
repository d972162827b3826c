#include "engine/plan.h"

#include "engine/compute_probe.h"
#include "engine/model.h"
#include "storage/bandwidth_probe.h"
#include "storage/reader_factory.h"
#include "store/chunk_queue.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <random>

namespace edgemoe {
namespace {

constexpr uint64_t kMostProbeBytes = 512 << 20;

struct Measured {
    double cache_share;
    double missed_share;
};

// Missed bytes of the default policy over those of no cache, the mean of the two traces in docs/cache.md.
constexpr std::array kTypical = {Measured{0.00, 1.00}, Measured{0.02, 0.76}, Measured{0.05, 0.57}, Measured{0.10, 0.40},
                                 Measured{0.20, 0.23}, Measured{0.30, 0.14}, Measured{1.00, 0.00}};

struct ExpertReads {
    std::vector<FileSpan> spans;
    uint64_t bytes = 0;         // of the spans
    uint64_t expert_bytes = 0;  // of these, of experts: direct reads begin and end at blocks
};

// The reads that bring experts, in random order, as many as a probe may take: what the store's own queue makes of them.
ExpertReads expert_reads(const ExpertIndex & index) {
    std::vector<const ExpertParts *> experts;
    for (const ExpertLayer & layer : index.layers()) {
        for (const ExpertParts & expert : layer.experts) {
            experts.push_back(&expert);
        }
    }
    std::mt19937 random(std::random_device{}());  // other places each time, whatever caches lie under the device
    std::shuffle(experts.begin(), experts.end(), random);
    std::vector<std::byte> buffer(ChunkQueue::buffer_bytes(index, kMostJoinedBytes));  // nothing is read into it here
    ChunkQueue queue(buffer.data(), 1, buffer.size(), kMostJoinedBytes);
    ExpertReads reads;
    std::vector<ReadRequest> started;
    for (size_t i = 0; i < experts.size() && reads.bytes < kMostProbeBytes; i++) {
        Chunk chunk;
        chunk.lease = 1;
        chunk.entry = static_cast<int32_t>(i);
        for (const ExpertPart & part : *experts[i]) {
            if (part.present) {
                queue.add(chunk, part, *index.files()[part.file], nullptr);
                reads.expert_bytes += part.bytes;
            }
        }
        while (queue.has_queued_demand()) {
            started.clear();
            queue.start(&started);
            for (const ReadRequest & read : started) {
                reads.spans.push_back({read.file, read.offset, read.bytes});
                reads.bytes += read.bytes;
                queue.finish(read.id);
            }
        }
    }
    return reads;
}

Status probe_disk(const ExpertIndex & index, const LoadOptions & options, double seconds, Plan * plan) {
    ReaderNeeds needs;
    needs.engine = options.io == "mmap" ? "threads" : options.io;  // mapped pages are not read into buffers
    needs.files = index.files();
    needs.n_lanes = kReadLanes;
    needs.read_bytes = static_cast<size_t>(ExpertStore::staging_bytes(index, 1));
    Result<ReaderChoice> reader = make_reader(needs);
    if (!reader.is_ok()) {
        return reader.status();
    }
    plan->io = reader.value().reader->name();
    const ExpertReads reads = expert_reads(index);
    const Result<Bandwidth> measured = probe_bandwidth(*reader.value().reader, reads.spans, kStagingBuffers, seconds);
    if (!measured.is_ok()) {
        return measured.status();
    }
    plan->read_bytes = measured.value().bytes / std::max<uint64_t>(1, measured.value().requests);
    plan->disk_bytes_per_second = measured.value().bytes_per_second() * static_cast<double>(reads.expert_bytes) /
                                  static_cast<double>(std::max<uint64_t>(1, reads.bytes));
    return Status::ok();
}

// Weights that every token multiplies: all hot ones, but a table that only rows are gathered from.
uint64_t multiplied_hot_bytes(const GgufSource & source) {
    uint64_t bytes = source.hot_bytes();
    uint64_t embedding = 0;
    bool has_output = false;
    for (const GgufSource::Tensor & tensor : source.tensors()) {
        embedding = tensor.name == "token_embd.weight" ? tensor.bytes : embedding;
        has_output = has_output || tensor.name == "output.weight";
    }
    return has_output ? bytes - embedding : bytes;
}

Status estimate_speed(const GgufSource & source, const LoadOptions & options, double seconds, Plan * plan) {
    const ExpertIndex & index = source.experts();
    if (std::string(plan->mode) == "streamed") {
        const Status status = probe_disk(index, options, seconds, plan);
        if (!status.is_ok()) {
            return status;
        }
    }
    const Result<double> multiplied = probe_compute(index, thread_count(options), seconds);
    if (!multiplied.is_ok()) {
        return multiplied.status();
    }
    plan->compute_seconds =
        static_cast<double>(multiplied_hot_bytes(source) + plan->token_expert_bytes) / multiplied.value();
    const auto reading = [&](double missed_bytes) {
        return plan->disk_bytes_per_second > 0 ? missed_bytes / plan->disk_bytes_per_second : 0.0;
    };
    plan->tokens_per_second_slow = 1 / (plan->compute_seconds + reading(plan->missed_bytes_uniform));
    plan->tokens_per_second_fast = 1 / std::max(plan->compute_seconds, reading(plan->missed_bytes_typical));
    return Status::ok();
}

void plan_experts(const ExpertIndex & index, Plan * plan) {
    plan->n_experts = index.n_experts();
    plan->token_expert_bytes = index.token_working_set_bytes();
    const double share = std::min(1.0, static_cast<double>(plan->cache_bytes) /
                                           static_cast<double>(std::max<uint64_t>(1, plan->memory.expert_bytes)));
    plan->n_experts_cached = static_cast<uint64_t>(share * static_cast<double>(plan->n_experts));
    const auto token_bytes = static_cast<double>(plan->token_expert_bytes);
    plan->missed_bytes_uniform = token_bytes * (1 - share);
    plan->missed_bytes_typical = std::min(plan->missed_bytes_uniform, token_bytes * typical_missed_share(share));
}

}  // namespace

double typical_missed_share(double share) {
    for (size_t i = 1; i < kTypical.size(); ++i) {
        const Measured & low = kTypical[i - 1];
        const Measured & high = kTypical[i];
        if (share <= high.cache_share) {
            const double part = (share - low.cache_share) / (high.cache_share - low.cache_share);
            return low.missed_share + part * (high.missed_share - low.missed_share);
        }
    }
    return 0;
}

Result<Plan> make_plan(const std::string & path, const LoadOptions & options, const PlanOptions & plan_options) {
    const double seconds = plan_options.probe_seconds;
    if (!(seconds >= 0 && seconds <= 60)) {
        return Status(StatusCode::kInvalidArgument, "the probe takes from 0 to 60 seconds");
    }
    Result<Model::Description> description = Model::describe(path, options);
    if (!description.is_ok()) {
        return description.status();
    }
    const GgufSource & source = *description.value().source;
    const ExpertIndex & index = source.experts();
    Plan plan;
    plan.memory = description.value().plan;
    const Result<uint64_t> cache_bytes = expert_cache_bytes(plan.memory, options, path, &plan.ceiling_bytes);
    if (!cache_bytes.is_ok() && cache_bytes.status().code() != StatusCode::kOutOfBudget) {
        return cache_bytes.status();
    }
    const bool fits = cache_bytes.is_ok();
    plan.cache_bytes = fits && options.streaming ? cache_bytes.value() : 0;
    const bool all_fit = !options.streaming || plan.cache_bytes >= plan.memory.expert_bytes;
    plan.mode = !fits ? "none" : index.empty() ? "dense" : all_fit ? "resident" : "streamed";
    if (!index.empty()) {
        plan_experts(index, &plan);
        if (fits && seconds > 0) {
            const Status status = estimate_speed(source, options, seconds, &plan);
            if (!status.is_ok()) {
                return status;
            }
        }
    }
    return plan;
}

}  // namespace edgemoe
