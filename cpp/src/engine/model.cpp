#include "engine/model.h"

#include "backend/registration.h"
#include "engine/log.h"
#include "engine/virtual_gguf.h"
#include "storage/reader_factory.h"
#include "store/slot_sizes.h"

#include <algorithm>
#include <chrono>

namespace edgemoe {

namespace {

void initialize_llama() {
    initialize_log();
    llama_backend_init();  // idempotent
    register_expert_backend();
}

bool report_progress(float fraction, void * options) {
    const auto & progress = static_cast<LoadOptions *>(options)->progress;
    return !progress || progress(fraction);
}

}  // namespace

Result<Model::Description> Model::describe(const std::string & path, const LoadOptions & options) {
    initialize_llama();
    Result<std::unique_ptr<GgufSource>> source = GgufSource::open(path, options.direct_io != Toggle::kOff);
    if (!source.is_ok()) {
        return source.status();
    }
    ExpertBufferType type;
    Result<MemoryPlan> plan = plan_memory(*source.value(), options, type);
    if (!plan.is_ok()) {
        return plan.status();
    }
    return Description{std::move(source).value(), plan.value()};
}

Result<std::unique_ptr<Model>> Model::load(const std::string & path, const LoadOptions & options) {
    const auto start = std::chrono::steady_clock::now();
    Result<Description> description = describe(path, options);
    if (!description.is_ok()) {
        return description.status();
    }
    std::unique_ptr<Model> model(new Model());
    model->options_ = options;
    model->source_ = std::move(description.value().source);
    model->plan_ = description.value().plan;
    model->n_threads_ = thread_count(options);
    if (options.direct_io == Toggle::kOn && !model->source_->direct_io()) {
        return Status(StatusCode::kUnsupported,
                      path + ": direct I/O was asked for, but " + model->source_->direct_refusal());
    }
    ggml_threadpool_params threads = ggml_threadpool_params_default(model->n_threads_);
    model->threads_.reset(ggml_threadpool_new(&threads));

    Result<uint64_t> cache_bytes = expert_cache_bytes(model->plan_, options, path, &model->ceiling_bytes_);
    if (!cache_bytes.is_ok()) {
        return cache_bytes.status();
    }
    Status status;
    if (!options.streaming) {
        status = model->load_by_llama();
    } else {
        if (!model->source_->experts().empty()) {
            status = model->make_store(cache_bytes.value());
        }
        if (status.is_ok()) {
            status = model->load_streamed();
        }
    }
    if (!status.is_ok()) {
        return status;
    }
    model->load_seconds_ = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    return model;
}

Status Model::make_store(uint64_t cache_bytes) {
    const ExpertIndex & experts = source_->experts();
    Result<ReaderChoice> reader = make_reader(options_.io, source_->files(), kReadLanes);
    if (!reader.is_ok()) {
        return reader.status();
    }
    io_reason_ = reader.value().reason;
    ExpertStoreOptions options;
    options.cache_bytes = cache_bytes;
    options.policy = make_eviction_policy(options_.eviction, policy_shape(experts));
    if (options.policy == nullptr) {
        std::string names;
        for (const std::string & name : eviction_policy_names()) {
            names += (names.empty() ? "" : ", ") + name;
        }
        return Status(StatusCode::kInvalidArgument,
                      "no eviction policy is called \"" + options_.eviction + "\"; there are " + names);
    }
    options.reader = std::move(reader.value().reader);
    options.n_staging = kStagingBuffers;
    layout_ = std::make_unique<ExpertLayout>(experts);
    Result<std::unique_ptr<ExpertStore>> store = ExpertStore::create(experts, *layout_, std::move(options));
    if (!store.is_ok()) {
        return Status(store.status().code(), source_->path() + ": " + store.status().message());
    }
    store_ = std::move(store).value();
    type_.set_streams(store_.get(), layout_.get(), threads_.get());
    return Status::ok();
}

Status Model::load_streamed() {
    Result<std::unique_ptr<VirtualGguf>> gguf = VirtualGguf::create(*source_);
    if (!gguf.is_ok()) {
        return gguf.status();
    }
    const llama_model_tensor_buft_override overrides[] = {{kExpertTensorPattern, type_.handle()}, {nullptr, nullptr}};
    llama_model_params params = model_params(options_);
    params.tensor_buft_overrides = overrides;
    params.progress_callback = report_progress;
    params.progress_callback_user_data = &options_;
    ErrorCapture errors;
    model_.reset(llama_model_load_from_file_ptr(gguf.value()->stream(), params));
    if (model_ == nullptr) {
        if (!gguf.value()->status().is_ok()) {
            return gguf.value()->status();
        }
        const std::string reason = errors.first();
        return reason.empty() ? Status(StatusCode::kCancelled, source_->path() + ": loading was stopped")
                              : Status(StatusCode::kFormat, source_->path() + ": llama.cpp cannot load it: " + reason);
    }
    return Status::ok();
}

Status Model::load_by_llama() {
    llama_model_params params = model_params(options_);
    params.progress_callback = report_progress;
    params.progress_callback_user_data = &options_;
    ErrorCapture errors;
    model_.reset(llama_model_load_from_file(source_->path().c_str(), params));
    if (model_ == nullptr) {
        const std::string reason = errors.first();
        return reason.empty() ? Status(StatusCode::kCancelled, source_->path() + ": loading was stopped")
                              : Status(StatusCode::kFormat, source_->path() + ": llama.cpp cannot load it: " + reason);
    }
    io_reason_ = "llama.cpp holds the whole model in memory";
    return Status::ok();
}

Model::~Model() = default;

Status Model::start_recording(const std::string & path) {
    if (store_ == nullptr) {
        return Status(StatusCode::kUnsupported,
                      source_->path() + ": nothing is streamed, so there is no routing to record");
    }
    Status status = stop_recording();
    if (!status.is_ok()) {
        return status;
    }
    Result<std::unique_ptr<RoutingRecorder>> recorder = RoutingRecorder::create(path, *source_);
    if (!recorder.is_ok()) {
        return recorder.status();
    }
    recorder_ = std::move(recorder).value();
    type_.set_observer(recorder_.get());
    return Status::ok();
}

Status Model::stop_recording() {
    type_.set_observer(nullptr);
    const std::unique_ptr<RoutingRecorder> recorder = std::move(recorder_);
    return recorder != nullptr ? recorder->close() : Status::ok();
}

void Model::set_recorded_phase(TracePhase phase) const {
    if (recorder_ != nullptr) {
        recorder_->set_phase(phase);
    }
}

const char * Model::mode() const {
    if (source_->experts().empty()) {
        return "dense";
    }
    return store_ == nullptr || store_->cache_bytes() >= plan_.expert_bytes ? "resident" : "streamed";
}

}  // namespace edgemoe
