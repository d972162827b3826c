#include "engine/model.h"

#include "backend/registration.h"
#include "engine/log.h"
#include "engine/map_source.h"
#include "engine/model_layout.h"
#include "engine/process_memory.h"
#include "store/slot_sizes.h"

#include <algorithm>
#include <chrono>
#include <set>

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

// What there is before any memory is spent.
struct LaidOut {
    std::unique_ptr<GgufSource> source;
    LlamaModel model;
    MemoryPlan plan;
    std::vector<size_t> row_tables;
    ExpertMaps maps;
    LoadOptions options;  // with the context that was chosen
};

Result<LaidOut> lay_out(const std::string & path, const LoadOptions & options, ExpertBufferType & type,
                        MapContent content) {
    initialize_llama();
    const uint64_t process_bytes = process_resident_bytes() + untouched_cache_bytes();
    Result<std::unique_ptr<GgufSource>> source = GgufSource::open(path, options.direct_io != Toggle::kOff);
    if (!source.is_ok()) {
        return source.status();
    }
    std::vector<size_t> row_tables =
        find_row_tables(*source.value(), options.streaming ? options.row_tables : Toggle::kOff);
    Result<ExpertMaps> maps = maps_for(*source.value(), options, content);
    if (!maps.is_ok()) {
        return maps.status();
    }
    const uint64_t map_bytes = MapPredictor::memory_bytes(maps.value(), options.prefetch != Prefetch::kOff);
    Result<LlamaModel> model = lay_out_model(*source.value(), type, row_tables);
    if (!model.is_ok()) {
        return model.status();
    }
    LoadOptions settled = options;
    if (options.n_ctx == kLargestContext) {
        const Result<uint32_t> n_ctx = largest_context(
            static_cast<uint32_t>(std::max<int32_t>(1, llama_model_n_ctx_train(model.value().get()))),
            memory_ceiling(options, process_bytes), [&](uint32_t n_tokens) -> Result<uint64_t> {
                settled.n_ctx = n_tokens;
                const Result<MemoryPlan> plan = plan_memory(*source.value(), settled, *model.value(), type, row_tables);
                if (!plan.is_ok()) {
                    return plan.status();
                }
                return process_bytes + plan.value().fixed_bytes() + map_bytes +
                       (options.expert_cache_bytes != 0 ? options.expert_cache_bytes : plan.value().useful_cache_bytes);
            });
        if (!n_ctx.is_ok()) {
            return n_ctx.status();
        }
        settled.n_ctx = n_ctx.value();
    }
    Result<MemoryPlan> plan = plan_memory(*source.value(), settled, *model.value(), type, row_tables);
    if (!plan.is_ok()) {
        return plan.status();
    }
    plan.value().process_bytes = process_bytes;
    plan.value().map_bytes = map_bytes;
    return LaidOut{std::move(source).value(), std::move(model).value(), plan.value(),
                   std::move(row_tables),     std::move(maps).value(),  std::move(settled)};
}

}  // namespace

Result<Model::Description> Model::describe(const std::string & path, const LoadOptions & options) {
    ExpertBufferType type;
    Result<LaidOut> laid_out = lay_out(path, options, type, MapContent::kShapes);
    if (!laid_out.is_ok()) {
        return laid_out.status();
    }
    return Description{std::move(laid_out.value().source), laid_out.value().plan};
}

Result<std::unique_ptr<Model>> Model::load(const std::string & path, const LoadOptions & options,
                                           const RowDecorator & decorate) {
    const auto start = std::chrono::steady_clock::now();
    std::unique_ptr<Model> model(new Model());
    Result<LaidOut> laid_out = lay_out(path, options, model->type_, MapContent::kWeights);
    if (!laid_out.is_ok()) {
        return laid_out.status();
    }
    model->options_ = std::move(laid_out.value().options);
    model->source_ = std::move(laid_out.value().source);
    model->model_ = std::move(laid_out.value().model);
    model->plan_ = laid_out.value().plan;
    model->maps_ = std::move(laid_out.value().maps);
    model->row_table_tensors_ = std::move(laid_out.value().row_tables);
    model->n_threads_ = thread_count(options);
    if (options.direct_io == Toggle::kOn && !model->source_->direct_io()) {
        return Status(StatusCode::kUnsupported,
                      path + ": direct I/O was asked for, but " + model->source_->direct_refusal());
    }
    ggml_threadpool_params threads = ggml_threadpool_params_default(model->n_threads_);
    threads.paused = true;  // not polling for work while weights are loaded: the first graph wakes them
    model->threads_.reset(ggml_threadpool_new(&threads));

    Result<uint64_t> cache_bytes = expert_cache_bytes(model->plan_, options, path, &model->ceiling_bytes_);
    if (!cache_bytes.is_ok()) {
        return cache_bytes.status();
    }
    Status status = options.streaming ? model->load_streamed(cache_bytes.value(), decorate) : model->load_by_llama();
    if (!status.is_ok()) {
        return status;
    }
    model->load_seconds_ = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    return model;
}

Status Model::make_store(uint64_t cache_bytes, ReaderChoice reader, const RowDecorator & decorate) {
    const ExpertIndex & experts = source_->experts();
    ExpertStoreOptions options;
    options.cache_bytes = cache_bytes;
    // With everything in memory there is nothing to know in advance.
    if (!maps_.empty() && cache_bytes < plan_.expert_bytes) {
        predictor_ = std::make_unique<MapPredictor>(std::move(maps_), options_.prefetch != Prefetch::kOff);
    }
    maps_ = ExpertMaps();
    // What several sequences will use together is nothing that the maps were fitted to.
    const bool scored = predictor_ != nullptr && predictor_->scores_next_use() && options_.n_sequences == 1;
    const std::string policy = options_.eviction == kDefaultPolicyAlias && scored ? "next-use" : options_.eviction;
    Result<std::unique_ptr<EvictionPolicy>> made = make_eviction_policy(policy, policy_shape(experts));
    if (!made.is_ok()) {
        return made.status();
    }
    options.policy = std::move(made).value();
    options.reader = std::move(reader.reader);
    options.n_staging = kStagingBuffers;
    options.lock_memory = options_.lock_memory;
    options.in_place = reader.in_place;
    options.prefetch = options_.prefetch;
    const RowConverter * converter = layout_.get();
    if (decorate) {
        decorated_ = decorate(experts, *layout_);
        converter = decorated_.get();
    }
    Result<std::unique_ptr<ExpertStore>> store = ExpertStore::create(experts, *converter, std::move(options));
    if (!store.is_ok()) {
        return Status(store.status().code(), source_->path() + ": " + store.status().message());
    }
    store_ = std::move(store).value();
    loaded_store_ = std::make_unique<LoadedStore>(*store_);
    type_.set_streams(store_.get(), layout_.get(), threads_.get());
    if (options_.prewarm == Toggle::kOn || (options_.prewarm == Toggle::kAuto && options_.prefetch != Prefetch::kOff)) {
        prewarming_ = Prewarming::start(*source_, *store_, options_.profile);
    }
    type_.set_predictor(predictor_.get());
    return Status::ok();
}

// Decides how matrices lie in memory, which an engine that reads in place leaves as in the file.
Result<ReaderChoice> Model::choose_reader(uint64_t cache_bytes, bool decorated) {
    const ExpertIndex & experts = source_->experts();
    layout_ = std::make_unique<ExpertLayout>(experts);
    ReaderNeeds needs;
    needs.engine = options_.io;
    needs.files = source_->files();
    needs.n_lanes = kReadLanes;
    if (!experts.empty()) {
        needs.read_bytes = static_cast<size_t>(ExpertStore::staging_bytes(experts, 1));
        needs.may_map = !decorated && !layout_->repacks() && options_.direct_io != Toggle::kOn;
        needs.kept_share = static_cast<double>(cache_bytes) / static_cast<double>(plan_.expert_bytes);
    }
    Result<ReaderChoice> reader = make_reader(needs);
    if (reader.is_ok() && reader.value().in_place) {
        if (options_.direct_io == Toggle::kOn) {
            return Status(StatusCode::kInvalidArgument,
                          "io mmap reads through the page cache, and direct I/O was asked for; choose one of them");
        }
        if (layout_->repacks()) {
            layout_ = std::make_unique<ExpertLayout>(experts, ExpertLayout::Choice::kAsInFile);
        }
    }
    return reader;
}

// Into memory of their own, also where experts stay in their files.
Status Model::read_hot_weights(const ReaderChoice & reader) {
    ReaderNeeds needs;
    needs.engine = "threads";
    needs.n_lanes = kReadLanes;
    Result<ReaderChoice> threads = reader.in_place ? make_reader(needs) : Result<ReaderChoice>(ReaderChoice{});
    if (!threads.is_ok()) {
        return threads.status();
    }
    AsyncReader & engine = reader.in_place ? *threads.value().reader : *reader.reader;
    return hot_weights_->read(*source_, engine, options_.progress, n_threads_, kStagingBuffers);
}

Status Model::load_streamed(uint64_t cache_bytes, const RowDecorator & decorate) {
    Result<ReaderChoice> reader = choose_reader(cache_bytes, static_cast<bool>(decorate));
    if (!reader.is_ok()) {
        return reader.status();
    }
    std::set<std::string> in_memory;
    if (row_tables_fit(plan_, options_, ceiling_bytes_)) {
        for (const size_t tensor : row_table_tensors_) {
            in_memory.insert(source_->tensors()[tensor].name);
        }
    } else if (!row_table_tensors_.empty()) {
        Result<std::unique_ptr<RowTables>> tables = RowTables::create(*source_, row_table_tensors_, options_.io);
        if (!tables.is_ok()) {
            return tables.status();
        }
        row_tables_ = std::move(tables).value();
        type_.set_row_tables(row_tables_->tables());
    }
    Result<std::unique_ptr<HotWeights>> weights =
        HotWeights::allocate(*model_, in_memory, threads_.get(), options_.lock_memory);
    if (!weights.is_ok()) {
        return Status(weights.status().code(), source_->path() + ": " + weights.status().message());
    }
    hot_weights_ = std::move(weights).value();
    const Status status = read_hot_weights(reader.value());
    if (!status.is_ok() || source_->experts().empty()) {
        return status;
    }
    io_reason_ = reader.value().reason;
    return make_store(cache_bytes, std::move(reader).value(), decorate);
}

Status Model::load_by_llama() {
    if (source_->packed()) {
        return Status(StatusCode::kUnsupported,
                      source_->path() +
                          ": a packed file, which llama.cpp cannot load in its own way; leave streaming "
                          "on, with memory for all experts if they are to stay, or unpack it");
    }
    model_.reset();  // the one that has no memory
    llama_model_params params = llama_model_default_params();
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
    if (predictor_ != nullptr) {
        predictor_->set_observer(recorder_.get());
    }
    return Status::ok();
}

void Model::announce_tokens(const int32_t * tokens, size_t n_tokens) {
    if (store_ != nullptr && type_.predictor() != nullptr) {
        type_.predictor()->begin_tokens(tokens, tokens != nullptr ? n_tokens : 0, *store_);
    }
}

Status Model::stop_recording() {
    type_.set_observer(nullptr);
    if (predictor_ != nullptr) {
        predictor_->set_observer(nullptr);
    }
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
