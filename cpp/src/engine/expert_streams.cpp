#include "engine/expert_streams.h"

#include "backend/registration.h"
#include "storage/reader_factory.h"
#include "store/slot_sizes.h"

#include <utility>

namespace edgemoe {

namespace {

uint64_t all_slots_bytes(const ExpertIndex & experts) {
    uint64_t bytes = 0;
    for (const ExpertLayer & layer : experts.layers()) {
        for (const ExpertParts & parts : layer.experts) {
            bytes += ExpertStore::slot_bytes(parts);
        }
    }
    return bytes;
}

}  // namespace

Result<std::unique_ptr<ExpertStreams>> ExpertStreams::open(const std::string & path, const LoadOptions & options,
                                                           ggml_threadpool_t threads) {
    register_expert_backend();
    std::unique_ptr<ExpertStreams> streams(new ExpertStreams());
    Result<std::unique_ptr<GgufSource>> source = GgufSource::open(path, options.direct_io != Toggle::kOff);
    if (!source.is_ok()) {
        return source.status();
    }
    streams->source_ = std::move(source).value();
    Result<std::unique_ptr<VirtualGguf>> gguf =
        VirtualGguf::create(*streams->source_, VirtualGguf::Content::kHotWeights);
    if (!gguf.is_ok()) {
        return gguf.status();
    }
    streams->gguf_ = std::move(gguf).value();
    if (!streams->source_->experts().empty()) {
        const Status status = streams->make_store(options, threads);
        if (!status.is_ok()) {
            return Status(status.code(), path + ": " + status.message());
        }
    }
    return streams;
}

ExpertStreams::~ExpertStreams() = default;

Status ExpertStreams::make_store(const LoadOptions & options, ggml_threadpool_t threads) {
    const ExpertIndex & experts = source_->experts();
    if (options.direct_io == Toggle::kOn && !source_->direct_io()) {
        return Status(StatusCode::kUnsupported, "direct I/O was asked for, but " + source_->direct_refusal());
    }
    ReaderNeeds needs;
    needs.engine = options.io;
    needs.files = source_->files();
    needs.n_lanes = kReadLanes;
    needs.read_bytes = static_cast<size_t>(ExpertStore::staging_bytes(experts, 1));
    Result<ReaderChoice> reader = make_reader(needs);
    if (!reader.is_ok()) {
        return reader.status();
    }
    ExpertStoreOptions settled;
    settled.cache_bytes = options.expert_cache_bytes != 0 ? options.expert_cache_bytes : all_slots_bytes(experts);
    Result<std::unique_ptr<EvictionPolicy>> policy = make_eviction_policy(options.eviction, policy_shape(experts));
    if (!policy.is_ok()) {
        return policy.status();
    }
    settled.policy = std::move(policy).value();
    if (settled.cache_bytes < ExpertStore::least_cache_bytes(experts)) {
        return Status(StatusCode::kOutOfBudget, "an expert cache of " + std::to_string(settled.cache_bytes) +
                                                    " bytes is too small; the least is " +
                                                    std::to_string(ExpertStore::least_cache_bytes(experts)));
    }
    settled.reader = std::move(reader.value().reader);
    settled.n_staging = kStagingBuffers;
    settled.in_place = reader.value().in_place;
    layout_ = std::make_unique<ExpertLayout>(
        experts, settled.in_place ? ExpertLayout::Choice::kAsInFile : ExpertLayout::Choice::kAsLlamaCpp);
    Result<std::unique_ptr<ExpertStore>> store = ExpertStore::create(experts, *layout_, std::move(settled));
    if (!store.is_ok()) {
        return store.status();
    }
    store_ = std::move(store).value();
    loaded_store_ = std::make_unique<LoadedStore>(*store_);
    type_.set_streams(store_.get(), layout_.get(), threads);
    return Status::ok();
}

Status ExpertStreams::take_failure() {
    const Status reading = gguf_->take_failure();
    const Status computing = type_.take_failure();
    return reading.is_ok() ? computing : reading;
}

}  // namespace edgemoe
