// Work is cut into units: some rows of one expert's matrix, times all inputs that were routed to it. Threads take units
// of matrices that are there, in any order; while none is, they take what has arrived from the reader, or sleep in it.
// Each unit is computed by ggml on one thread (RowProduct), so that there is no barrier inside a layer.
#include "backend/expert_matmul.h"

#include "backend/row_activation.h"
#include "backend/row_product.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <new>
#include <optional>
#include <thread>

namespace edgemoe {

namespace {

constexpr size_t kFewInputs = 4;  // fewer are multiplied one by one

// Which slot of which token an expert was chosen for.
struct Routed {
    int32_t slot = 0;
    int32_t token = 0;
};

// What a LayerPredictor is given: the last token of the ubatch, and what those before it chose.
struct LastToken {
    int32_t layer = 0;
    const float * ffn_input = nullptr;
    std::vector<int32_t> ids;
    std::vector<int32_t> earlier_ids;
};

struct RoutedExpert {
    int32_t expert = 0;
    std::vector<Routed> rows;
};

int32_t routed_expert(const ggml_tensor * ids, int64_t token, int64_t slot) {
    return *reinterpret_cast<const int32_t *>(static_cast<const char *>(ids->data) + token * ids->nb[1] +
                                              slot * ids->nb[0]);
}

void tell(RoutingObserver & observer, int32_t layer, const ggml_tensor * ids) {
    std::vector<int32_t> experts;
    for (int64_t token = 0; token < ids->ne[1]; token++) {
        for (int64_t slot = 0; slot < ids->ne[0]; slot++) {
            experts.push_back(routed_expert(ids, token, slot));
        }
    }
    observer.on_routing(layer, static_cast<int32_t>(ids->ne[0]), experts);
}

LastToken last_token(int32_t layer, const ggml_tensor * product) {
    const ggml_tensor * input = product->src[1];
    const ggml_tensor * routing = product->src[2];
    LastToken token;
    token.layer = layer;
    if (input->ne[1] == 1 && input->nb[0] == sizeof(float)) {  // all experts of the token have the same input
        token.ffn_input = reinterpret_cast<const float *>(static_cast<const char *>(input->data) +
                                                          (input->ne[2] - 1) * static_cast<int64_t>(input->nb[2]));
    }
    for (int64_t number = 0; number < routing->ne[1]; number++) {
        std::vector<int32_t> & ids = number + 1 < routing->ne[1] ? token.earlier_ids : token.ids;
        for (int64_t slot = 0; slot < routing->ne[0]; slot++) {
            ids.push_back(routed_expert(routing, number, slot));
        }
    }
    return token;
}

// In the order in which the router named them for one token; by number, which is the order in the file, for more.
std::vector<RoutedExpert> group_by_expert(const ggml_tensor * ids, int64_t n_experts, Status * status) {
    std::vector<int32_t> position(static_cast<size_t>(n_experts), -1);
    std::vector<RoutedExpert> experts;
    for (int64_t token = 0; token < ids->ne[1]; token++) {
        for (int64_t slot = 0; slot < ids->ne[0]; slot++) {
            const int32_t expert = routed_expert(ids, token, slot);
            if (expert < 0 || expert >= n_experts) {
                *status = Status(StatusCode::kInternal, "the router named expert " + std::to_string(expert) + " of " +
                                                            std::to_string(n_experts));
                return {};
            }
            int32_t & at = position[static_cast<size_t>(expert)];
            if (at < 0) {
                at = static_cast<int32_t>(experts.size());
                experts.push_back({expert, {}});
            }
            experts[static_cast<size_t>(at)].rows.push_back({static_cast<int32_t>(slot), static_cast<int32_t>(token)});
        }
    }
    if (ids->ne[1] > 1) {
        std::sort(experts.begin(), experts.end(),
                  [](const RoutedExpert & a, const RoutedExpert & b) { return a.expert < b.expert; });
    }
    return experts;
}

}  // namespace

// ---- one thread's tools ----

struct ExpertMatmul::Worker {
    RowProduct product;
    RowActivation activation;
    std::vector<RowProductVector> vectors;

    // Rows [first_row, first_row + n_rows) of the product of `matrix` with the inputs of `routed`, into their places in
    // `output`, which is laid out as the result of `node`.
    void multiply(const ExpertLayout & layout, const ExpertPart & part, const std::byte * matrix, int64_t first_row,
                  int64_t n_rows, const std::vector<Routed> & routed, const ggml_tensor * node, char * output) {
        ggml_tensor weights;
        layout.describe(part, matrix, first_row, n_rows, &weights);
        vectors.clear();
        for (Routed one : routed) {
            vectors.push_back({input_row(node->src[1], one),
                               output + row_offset(node, one) + static_cast<size_t>(first_row) * sizeof(float)});
        }
        const bool batch = vectors.size() >= kFewInputs && layout.batch_is_exact(part);
        product.multiply(weights, vectors, batch ? RowProductKernel::kBatch : RowProductKernel::kOneByOne,
                         node->op_params);
    }

private:
    // ggml lets all slots of a token share one input (ne[1] == 1), or each have its own.
    static const char * input_row(const ggml_tensor * input, Routed routed) {
        return static_cast<const char *>(input->data) +
               (routed.slot % input->ne[1]) * static_cast<int64_t>(input->nb[1]) +
               routed.token * static_cast<int64_t>(input->nb[2]);
    }
    static int64_t row_offset(const ggml_tensor * node, Routed routed) {
        return routed.slot * static_cast<int64_t>(node->nb[1]) + routed.token * static_cast<int64_t>(node->nb[2]);
    }
};

// ---- one call ----

struct ExpertMatmul::Job {
    // One expert's matrix of one node.
    struct Item {
        size_t expert = 0;  // index into experts and the lease
        Projection projection = Projection::kGate;
        const ExpertPart * part = nullptr;
        const ggml_tensor * node = nullptr;
        char * output = nullptr;
        bool after_activation = false;
        int64_t unit_rows = 0;
        int32_t n_units = 0;
        std::atomic<int32_t> next_unit{0};
        std::atomic<int32_t> units_left{0};
    };

    std::vector<RoutedExpert> experts;
    std::vector<Item> items;
    std::vector<std::atomic<int32_t>> items_left;   // by expert: when none is left, the lease lets it go
    std::vector<std::atomic<int32_t>> inputs_left;  // by expert: when none is left, its activation is computed
    std::vector<std::atomic<bool>> activated;       // by expert: its down product may be computed
    const ggml_tensor * activation = nullptr;       // nullptr: a later node of llama.cpp's graph
    std::atomic<size_t> first_open{0};              // all items before it have no unit left to take
    std::atomic<int64_t> stall_ns{0};
    std::atomic<bool> out_of_memory{false};
    std::optional<LastToken> to_predict;  // by thread 0, before its share
    Lease * lease = nullptr;
    const ExpertBufferType * type = nullptr;
    const ExpertLayout * layout = nullptr;
    std::vector<std::unique_ptr<Worker>> * workers = nullptr;

    enum class Taken : uint8_t {
        kUnit,     // one was done
        kSoon,     // none can be done before another thread ends what it is doing
        kMissing,  // none can be done before a matrix arrives
        kNone,     // none is left
    };

    Taken take_unit(Worker & worker) {
        Taken result = Taken::kNone;
        for (size_t i = first_open.load(std::memory_order_relaxed); i < items.size(); i++) {
            Item & item = items[i];
            if (item.next_unit.load(std::memory_order_relaxed) >= item.n_units) {
                continue;
            }
            if (item.after_activation && !activated[item.expert].load(std::memory_order_acquire)) {
                if (inputs_are_taken(i)) {
                    result = Taken::kSoon;
                }  // otherwise its gate or up waits itself
                continue;
            }
            const std::byte * matrix = lease->data(item.expert, item.projection);
            if (matrix == nullptr) {
                result = result == Taken::kSoon ? result : Taken::kMissing;
                continue;
            }
            const int32_t unit = item.next_unit.fetch_add(1, std::memory_order_relaxed);
            if (unit >= item.n_units) {
                continue;
            }
            const int64_t first_row = unit * item.unit_rows;
            worker.multiply(*layout, *item.part, matrix, first_row,
                            std::min(item.unit_rows, item.part->rows - first_row), experts[item.expert].rows, item.node,
                            item.output);
            if (item.units_left.fetch_sub(1, std::memory_order_acq_rel) == 1) {
                end_item(worker, item);
            }
            advance();
            return Taken::kUnit;
        }
        return result;
    }

    // True if all units of what the down product `items[i]` waits for are done or being done.
    bool inputs_are_taken(size_t i) const {
        while (i-- > 0 && !items[i].after_activation) {
            if (items[i].next_unit.load(std::memory_order_relaxed) < items[i].n_units) {
                return false;
            }
        }
        return true;
    }

    void end_item(Worker & worker, const Item & item) {
        const size_t expert = item.expert;
        if (activation != nullptr && !item.after_activation &&
            inputs_left[expert].fetch_sub(1, std::memory_order_acq_rel) == 1) {
            for (Routed one : experts[expert].rows) {
                worker.activation.apply(activation, one.slot, one.token);
            }
            activated[expert].store(true, std::memory_order_release);
        }
        if (items_left[expert].fetch_sub(1, std::memory_order_acq_rel) == 1) {
            lease->release(expert);
        }
    }

    // One thread's share of the job: until no unit is left, the lease has failed, or the computation is cancelled.
    void work(Worker & worker) {
        while (!lease->failed() && !out_of_memory.load(std::memory_order_relaxed) && !type->cancelled()) {
            const Taken taken = take_unit(worker);
            if (taken == Taken::kNone) {
                while (lease->reads_ahead() && lease->progress(false)) {
                }
                return;
            }
            if (taken == Taken::kUnit || lease->progress(false)) {
                continue;
            }
            if (taken == Taken::kSoon) {
                std::this_thread::yield();  // for as long as a unit takes, which is microseconds
                continue;
            }
            const auto start = std::chrono::steady_clock::now();
            lease->progress(true);
            const auto waited = std::chrono::steady_clock::now() - start;
            stall_ns.fetch_add(std::chrono::duration_cast<std::chrono::nanoseconds>(waited).count(),
                               std::memory_order_relaxed);
        }
    }

    void advance() {
        size_t at = first_open.load(std::memory_order_relaxed);
        while (at < items.size() && items[at].next_unit.load(std::memory_order_relaxed) >= items[at].n_units &&
               first_open.compare_exchange_weak(at, at + 1, std::memory_order_relaxed)) {
            at++;
        }
    }
};

ExpertMatmul::ExpertMatmul() = default;
ExpertMatmul::~ExpertMatmul() = default;

// Called by ggml, through which no exception may pass.
void ExpertMatmul::run(void * data, int thread) {
    Job & job = *static_cast<Job *>(data);
    try {
        if (thread == 0 && job.to_predict) {
            const LastToken & token = *job.to_predict;
            LayerPredictor & predictor = *job.type->predictor();
            const auto n_ids = static_cast<int>(token.ids.size());
            if (!token.earlier_ids.empty()) {
                predictor.pass_over(token.layer, token.earlier_ids.data(),
                                    static_cast<int>(token.earlier_ids.size()) / n_ids, n_ids);
            }
            predictor.predict(token.layer, token.ffn_input, token.ids.data(), nullptr, n_ids, *job.type->store());
        }
        job.work(*(*job.workers)[static_cast<size_t>(thread)]);
    } catch (const std::bad_alloc &) {
        job.out_of_memory.store(true);
    }
}

Status ExpertMatmul::compute(ExpertBufferType & type, const ExpertGroup & group, int n_threads) {
    Status status;
    Job job;
    std::vector<ggml_tensor *> nodes = group.products;
    if (group.down != nullptr) {
        nodes.push_back(group.down);
    }
    job.experts = group_by_expert(nodes.front()->src[2], nodes.front()->src[0]->ne[2], &status);
    if (!status.is_ok() || job.experts.empty()) {
        return status;
    }
    const auto start = std::chrono::steady_clock::now();
    ExpertStore & store = *type.store();
    job.type = &type;
    job.layout = type.layout();
    job.workers = &workers_;
    job.activation = group.activation;

    int32_t layer = 0;
    ProjectionMask mask = 0;
    std::vector<Projection> projections;
    for (const ggml_tensor * node : nodes) {
        Projection projection = Projection::kGate;
        if (!parse_expert_tensor_name(node->src[0]->name, &layer, &projection)) {
            return Status(StatusCode::kInternal, std::string(node->src[0]->name) + ": not an expert tensor");
        }
        projections.push_back(projection);
        mask = static_cast<ProjectionMask>(mask | projection_bit(projection));
    }
    if (group.down != nullptr) {
        down_.resize(std::max(down_.size(), ggml_nbytes(group.down)));
    }
    const ggml_tensor * routing = nodes.front()->src[2];
    const auto n_tokens = static_cast<int32_t>(routing->ne[1]);
    std::vector<int32_t> ids;
    std::vector<ExpertUse> uses;
    std::vector<int32_t> ages;
    ids.reserve(job.experts.size());
    uses.reserve(job.experts.size());
    ages.reserve(static_cast<size_t>(ggml_nelements(routing)));  // never moves: `uses` points into it
    for (const RoutedExpert & routed : job.experts) {
        ids.push_back(routed.expert);
        uses.push_back({n_tokens, routed.rows.size(), ages.data() + ages.size()});
        for (const Routed row : routed.rows) {
            ages.push_back(n_tokens - 1 - row.token);
        }
    }
    Result<LeasePtr> lease = store.acquire(layer, mask, ids, uses);
    if (!lease.is_ok()) {
        return lease.status();
    }
    job.lease = lease.value().get();
    if (type.observer() != nullptr && job.lease->begins_pass()) {
        tell(*type.observer(), layer, routing);
    }
    if (type.predictor() != nullptr && job.lease->begins_pass()) {
        job.to_predict = last_token(layer, nodes.front());
    }

    // A matrix for few inputs is cut into stretches that a thread's cache holds. For more it is taken whole, since each
    // unit prepares the inputs anew; unless there are so few matrices that threads would run out of them.
    job.items = std::vector<Job::Item>(nodes.size() * job.experts.size());
    job.items_left = std::vector<std::atomic<int32_t>>(job.experts.size());
    job.inputs_left = std::vector<std::atomic<int32_t>>(job.experts.size());
    job.activated = std::vector<std::atomic<bool>>(job.experts.size());
    const bool cut = job.items.size() < 8 * static_cast<size_t>(n_threads) * nodes.size();
    size_t next = 0;
    for (size_t e = 0; e < job.experts.size(); e++) {
        job.items_left[e].store(static_cast<int32_t>(nodes.size()), std::memory_order_relaxed);
        job.inputs_left[e].store(static_cast<int32_t>(group.products.size()), std::memory_order_relaxed);
        for (size_t n = 0; n < nodes.size(); n++) {
            Job::Item & item = job.items[next++];
            item.expert = e;
            item.projection = projections[n];
            item.part = &store.index().parts({layer, job.experts[e].expert})[static_cast<size_t>(projections[n])];
            item.node = nodes[n];
            item.after_activation = nodes[n] == group.down;
            item.output = item.after_activation ? down_.data() : static_cast<char *>(nodes[n]->data);
            int64_t unit_rows = cut ? (item.part->rows + n_threads - 1) / n_threads : item.part->rows;
            if (job.experts[e].rows.size() < kFewInputs) {
                const auto row_bytes = static_cast<int64_t>(item.part->bytes) / item.part->rows;
                unit_rows = std::min(unit_rows, RowProduct::kStretchBytes / row_bytes);
            }
            item.unit_rows = std::max<int64_t>(1, unit_rows / kRowGroup) * kRowGroup;
            item.n_units = static_cast<int32_t>((item.part->rows + item.unit_rows - 1) / item.unit_rows);
            item.units_left.store(item.n_units, std::memory_order_relaxed);
        }
    }
    while (workers_.size() < static_cast<size_t>(n_threads)) {
        workers_.push_back(std::make_unique<Worker>());
    }

    parallel_.run(type.threads(), n_threads, run, &job);

    // What is between two layers counts for the later one: reads that arrive there take time there. What is between
    // two passes does not: somebody may have been typing.
    const bool is_later = layer > last_layer_ || (layer == last_layer_ && !job.lease->begins_pass());
    const bool goes_on = last_layer_ >= 0 && is_later;
    const auto from = goes_on ? last_end_ : start;
    last_end_ = std::chrono::steady_clock::now();
    const bool is_whole = !job.out_of_memory.load() && !job.lease->failed() && !type.cancelled();
    last_layer_ = is_whole ? layer : -1;
    store.add_layer_time(std::chrono::duration<double>(last_end_ - from).count(),
                         static_cast<double>(job.stall_ns.load()) * 1e-9 / n_threads);
    if (job.out_of_memory.load()) {
        return Status(StatusCode::kOutOfBudget,
                      "out of memory while multiplying experts; lower the memory figure or n_ubatch");
    }
    if (job.lease->failed()) {
        return job.lease->status();
    }
    if (type.cancelled()) {
        return Status(StatusCode::kCancelled, "cancelled");
    }
    if (group.down != nullptr) {
        std::memcpy(group.down->data, down_.data(), ggml_nbytes(group.down));
    }
    return Status::ok();
}

uint64_t ExpertMatmul::scratch_bytes(const ExpertIndex & index, int64_t n_tokens, int n_threads) {
    uint64_t widest = 0;
    for (const ExpertLayer & layer : index.layers()) {
        for (const ExpertPart & part : layer.experts.front()) {
            if (part.present) {
                widest = std::max(widest, RowProduct::scratch_bytes(part.columns, part.rows, 1));
            }
        }
    }
    return widest * static_cast<uint64_t>(n_tokens) * static_cast<uint64_t>(n_threads) + (1 << 20);
}

}  // namespace edgemoe
