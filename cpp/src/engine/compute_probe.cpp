// Several experts a thread, so that the weights come from memory and not from a cache, as they do in a token; and a
// graph of its own for each thread, so that no barrier is measured: the engine has none between experts.
#include "engine/compute_probe.h"

#include "ggml-cpu.h"
#include "ggml.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <system_error>
#include <thread>
#include <vector>

namespace edgemoe {
namespace {

constexpr uint64_t kProbeBytes = 64 << 20;

struct ContextDeleter {
    void operator()(ggml_context * context) const { ggml_free(context); }
};

// Products of some experts' matrices with one vector each.
class Products {
public:
    static Result<std::unique_ptr<Products>> create(const ExpertIndex & index,
                                                    const std::vector<const ExpertPart *> & parts) {
        uint64_t bytes = 0;
        uint64_t vector_bytes = 0;
        for (const ExpertPart * part : parts) {
            bytes += part->bytes;
            vector_bytes += (static_cast<uint64_t>(part->columns) + static_cast<uint64_t>(part->rows)) * sizeof(float);
        }
        const size_t graph_size = 2 * parts.size() + 1;  // weights and inputs are its leaves
        const size_t per_part = 4 * (ggml_tensor_overhead() + GGML_MEM_ALIGN);
        const size_t memory =
            bytes + vector_bytes + (parts.size() + 1) * per_part + ggml_graph_overhead_custom(graph_size, false);
        std::unique_ptr<Products> products(new Products());
        products->context_.reset(ggml_init({memory, nullptr, false}));
        ggml_context * context = products->context_.get();
        if (context == nullptr) {
            return Status(StatusCode::kOutOfBudget, "no memory for the computing probe");
        }
        products->weight_bytes_ = bytes;
        products->graph_ = ggml_new_graph_custom(context, graph_size, false);
        for (const ExpertPart * part : parts) {
            ggml_tensor * weights =
                ggml_new_tensor_2d(context, static_cast<ggml_type>(part->type), part->columns, part->rows);
            const File & file = *index.files()[part->file];
            if (ggml_nbytes(weights) != part->bytes) {
                return Status(StatusCode::kInternal, file.path() + ": a matrix is not as large as its type says");
            }
            const Status status = file.read(part->offset, part->bytes, weights->data);
            if (!status.is_ok()) {
                return status;
            }
            ggml_tensor * input = ggml_new_tensor_1d(context, GGML_TYPE_F32, part->columns);
            std::fill_n(static_cast<float *>(input->data), part->columns, 0.5F);
            ggml_build_forward_expand(products->graph_, ggml_mul_mat(context, weights, input));
        }
        return products;
    }

    // Computes all products once, on this thread. False if ggml cannot.
    bool compute() {
        ggml_cplan plan = ggml_graph_plan(graph_, 1, nullptr);
        work_.resize(plan.work_size);
        plan.work_data = work_.data();
        return ggml_graph_compute(graph_, &plan) == GGML_STATUS_SUCCESS;
    }

    uint64_t weight_bytes() const { return weight_bytes_; }

private:
    Products() = default;

    std::unique_ptr<ggml_context, ContextDeleter> context_;
    ggml_cgraph * graph_ = nullptr;  // in context_
    uint64_t weight_bytes_ = 0;
    std::vector<uint8_t> work_;
};

// Some experts' matrices for each thread, dealt in turn.
std::vector<std::vector<const ExpertPart *>> deal_matrices(const ExpertIndex & index, size_t n_threads) {
    std::vector<std::vector<const ExpertPart *>> dealt(n_threads);
    uint64_t bytes = 0;
    size_t next = 0;
    const size_t n_experts = index.layers().front().experts.size();
    for (size_t expert = 0; expert < n_experts; ++expert) {
        for (const ExpertLayer & layer : index.layers()) {
            for (const ExpertPart & part : layer.experts[expert % layer.experts.size()]) {
                if (part.present && (bytes + part.bytes <= kProbeBytes || next < n_threads)) {
                    dealt[next++ % n_threads].push_back(&part);
                    bytes += part.bytes;
                }
            }
        }
    }
    return dealt;
}

}  // namespace

Result<double> probe_compute(const ExpertIndex & index, int n_threads, double seconds) {
    using Clock = std::chrono::steady_clock;
    std::vector<std::unique_ptr<Products>> products;
    for (const std::vector<const ExpertPart *> & parts : deal_matrices(index, static_cast<size_t>(n_threads))) {
        Result<std::unique_ptr<Products>> made = Products::create(index, parts);
        if (!made.is_ok()) {
            return made.status();
        }
        products.push_back(std::move(made).value());
    }

    std::atomic<uint64_t> multiplied{0};
    std::atomic<bool> failed{false};
    const auto start = Clock::now();
    const auto elapsed = [&] { return std::chrono::duration<double>(Clock::now() - start).count(); };
    const auto work = [&](Products & own) {
        do {
            failed = failed || !own.compute();
            multiplied += own.weight_bytes();
        } while (!failed && elapsed() < seconds);
    };
    std::vector<std::thread> threads;
    try {
        for (size_t i = 1; i < products.size(); ++i) {
            threads.emplace_back(work, std::ref(*products[i]));
        }
    } catch (const std::system_error &) {
        failed = true;
    }
    work(*products.front());
    for (std::thread & thread : threads) {
        thread.join();
    }
    if (failed) {
        return Status(StatusCode::kUnsupported, "the computing probe could not run on " + std::to_string(n_threads) +
                                                    " threads; try fewer threads, or no probe");
    }
    return static_cast<double>(multiplied) / elapsed();
}

}  // namespace edgemoe
