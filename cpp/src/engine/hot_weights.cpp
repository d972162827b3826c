// llama.cpp would read each tensor into a buffer of the tensor's size, on one thread, and interleave it afterwards.
// Here a tensor is cut into runs of rows that are interleaved as they arrive, which gives the same bytes: ggml
// interleaves groups of rows, and only runs for which it chooses the same kernels as for the whole tensor are cut.
#include "engine/hot_weights.h"

#include "backend/expert_buffer_type.h"
#include "base/checked.h"
#include "storage/bulk_read.h"
#include "storage/direct_read.h"
#include "storage/memory_advice.h"

#include "ggml-alloc.h"
#include "llama-model.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <string>
#include <unordered_map>

namespace edgemoe {

namespace {

constexpr size_t kPieceBytes = 1 << 20;
constexpr int64_t kRowGroup = 32;  // ggml interleaves groups of at most this many rows

// What a read brings: bytes of a tensor that lies as in the file, or whole rows of one that is interleaved.
struct Piece {
    ggml_tensor * tensor = nullptr;
    uint64_t offset = 0;  // from the tensor's start
    size_t bytes = 0;
    int64_t n_rows = 0;  // 0: bytes as they are
};

// Rows of an interleaved tensor as a tensor of their own. ggml chooses the kernels by what it is told here.
ggml_tensor rows_of(const ggml_tensor & tensor, uint64_t offset, int64_t n_rows) {
    ggml_tensor rows = tensor;
    rows.ne[1] = n_rows;
    rows.nb[2] = rows.nb[1] * static_cast<size_t>(n_rows);
    rows.nb[3] = rows.nb[2];
    rows.data = static_cast<char *>(tensor.data) + offset;
    rows.extra = nullptr;
    ggml_backend_buffer_init_tensor(rows.buffer, &rows);
    return rows;
}

// Rows of a read of an interleaved tensor, or 0 where it must be given whole.
int64_t rows_at_once(const ggml_tensor & tensor) {
    const ggml_backend_buffer_type_t type = ggml_backend_buffer_get_type(tensor.buffer);
    if (ggml_n_dims(&tensor) > 2 || ggml_backend_buft_get_alloc_size(type, &tensor) != ggml_nbytes(&tensor)) {
        return 0;
    }
    const int64_t n_rows =
        std::max<int64_t>(1, static_cast<int64_t>(kPieceBytes / tensor.nb[1]) / kRowGroup) * kRowGroup;
    const int64_t n_last = tensor.ne[1] % n_rows;
    const bool same = rows_of(tensor, 0, std::min(n_rows, tensor.ne[1])).extra == tensor.extra &&
                      (n_last == 0 || rows_of(tensor, 0, n_last).extra == tensor.extra);
    return same ? n_rows : 0;
}

void cut_bytes(ggml_tensor * tensor, uint64_t place, std::vector<Piece> * pieces) {
    const uint64_t bytes = ggml_nbytes(tensor);
    for (uint64_t begin = 0; begin < bytes;) {
        // All but the first begin where a direct read may begin.
        const uint64_t end = std::min(bytes, align_down(place + begin + kPieceBytes, kDirectAlignment) - place);
        pieces->push_back({tensor, begin, static_cast<size_t>(end - begin), 0});
        begin = end;
    }
}

void cut_rows(ggml_tensor * tensor, int64_t n_rows, std::vector<Piece> * pieces) {
    for (int64_t first = 0; first < tensor->ne[1]; first += n_rows) {
        const int64_t n = std::min(n_rows, tensor->ne[1] - first);
        pieces->push_back(
            {tensor, static_cast<uint64_t>(first) * tensor->nb[1], static_cast<size_t>(n) * tensor->nb[1], n});
    }
}

void put(const Piece & piece, const std::byte * data) {
    if (piece.n_rows == 0) {
        std::memcpy(static_cast<char *>(piece.tensor->data) + piece.offset, data, piece.bytes);
        return;
    }
    ggml_tensor rows = rows_of(*piece.tensor, piece.offset, piece.n_rows);
    ggml_backend_tensor_set(&rows, data, 0, piece.bytes);
}

Status of_tensor(const Status & status, const std::string & name) {
    return Status(status.code(), status.message() + " (tensor " + name + ")");
}

Status read_whole(const GgufSource & source, const GgufSource::Tensor & where, ggml_tensor * tensor) {
    std::vector<std::byte> data(static_cast<size_t>(where.bytes));
    const Status status = read_past_page_cache(*source.files()[where.file], where.offset, data.size(), data.data());
    if (status.is_ok()) {
        ggml_backend_tensor_set(tensor, data.data(), 0, data.size());
    }
    return status;
}

}  // namespace

Result<std::unique_ptr<HotWeights>> HotWeights::allocate(llama_model & model, const std::set<std::string> & in_memory,
                                                         ggml_threadpool_t threads, bool lock) {
    std::unique_ptr<HotWeights> weights(new HotWeights());
    std::map<ggml_backend_buffer_type_t, std::vector<ggml_tensor *>> by_type;
    for (const auto & [name, tensor] : model.tensors_by_name) {
        by_type[in_memory.count(name) > 0 ? ggml_backend_cpu_buffer_type()
                                          : ggml_backend_buffer_get_type(tensor->buffer)]
            .push_back(tensor);
    }
    for (const auto & [type, tensors] : by_type) {
        const size_t alignment = ggml_backend_buft_get_alignment(type);
        uint64_t bytes = alignment;
        for (const ggml_tensor * tensor : tensors) {
            bytes += align_up(ggml_backend_buft_get_alloc_size(type, tensor), alignment);
        }
        const bool hot = !is_expert_buffer_type(type);
        ggml_backend_buffer_t buffer = nullptr;
        if (hot) {
            Result<std::unique_ptr<HotBuffer>> made = HotBuffer::allocate(type, static_cast<size_t>(bytes), threads);
            if (!made.is_ok()) {
                return made.status();
            }
            buffer = made.value()->handle();
            if (lock) {
                const Status locked = lock_in_memory(made.value()->data(), static_cast<size_t>(bytes));
                if (!locked.is_ok()) {
                    return locked;
                }
            }
            weights->hot_.push_back(std::move(made.value()));
        } else {
            buffer = ggml_backend_buft_alloc_buffer(type, static_cast<size_t>(bytes));
            if (buffer == nullptr) {
                return Status(StatusCode::kOutOfBudget, "out of addresses for tensors on flash");
            }
            weights->flash_addresses_.push_back(buffer);
        }
        ggml_backend_buffer_set_usage(buffer, GGML_BACKEND_BUFFER_USAGE_WEIGHTS);
        ggml_tallocr allocator = ggml_tallocr_new(buffer);
        for (ggml_tensor * tensor : tensors) {
            tensor->buffer = nullptr;  // the empty one that it was laid out with
            if (ggml_tallocr_alloc(&allocator, tensor) != GGML_STATUS_SUCCESS) {
                return Status(StatusCode::kInternal, std::string(tensor->name) + ": llama.cpp cannot place it");
            }
            if (hot) {
                weights->tensors_.push_back(tensor);
            }
        }
    }
    // From now on llama.cpp gives contexts over the model memory of their own.
    model.hparams.no_alloc = false;
    return weights;
}

HotWeights::~HotWeights() {
    for (ggml_backend_buffer_t buffer : flash_addresses_) {
        ggml_backend_buffer_free(buffer);
    }
}

Status HotWeights::read(const GgufSource & source, AsyncReader & reader, const std::function<bool(float)> & progress,
                        int n_threads, size_t n_buffers) {
    std::unordered_map<std::string, const GgufSource::Tensor *> places;
    for (const GgufSource::Tensor & tensor : source.tensors()) {
        places.emplace(tensor.name, &tensor);
    }
    const auto place_of = [&places](const ggml_tensor * tensor) { return places.at(tensor->name); };
    // llama.cpp also makes tensors that no file has, for some architectures; they stay unset here as there.
    std::vector<ggml_tensor *> tensors;
    std::copy_if(tensors_.begin(), tensors_.end(), std::back_inserter(tensors),
                 [&places](const ggml_tensor * tensor) { return places.count(tensor->name) > 0; });
    std::sort(tensors.begin(), tensors.end(), [&place_of](const ggml_tensor * a, const ggml_tensor * b) {
        const GgufSource::Tensor & x = *place_of(a);
        const GgufSource::Tensor & y = *place_of(b);
        return x.file != y.file ? x.file < y.file : x.offset < y.offset;
    });
    std::vector<Piece> pieces;
    for (ggml_tensor * tensor : tensors) {
        const GgufSource::Tensor & place = *place_of(tensor);
        if (ggml_backend_buffer_is_host(tensor->buffer)) {
            cut_bytes(tensor, place.offset, &pieces);
        } else if (const int64_t n_rows = rows_at_once(*tensor); n_rows > 0) {
            cut_rows(tensor, n_rows, &pieces);
        } else {
            const Status status = read_whole(source, place, tensor);
            if (!status.is_ok()) {
                return of_tensor(status, tensor->name);
            }
        }
    }
    std::vector<Stretch> stretches;
    stretches.reserve(pieces.size());
    for (const Piece & piece : pieces) {
        const GgufSource::Tensor & place = *place_of(piece.tensor);
        stretches.push_back({source.files()[place.file].get(), place.offset + piece.offset, piece.bytes});
    }
    BulkReadOptions options;
    options.n_buffers = n_buffers;
    options.n_threads = n_threads;
    options.progress = progress;
    size_t failed = 0;
    const Status status = bulk_read(
        stretches, reader, options, [&pieces](size_t i, const std::byte * data) { put(pieces[i], data); }, &failed);
    return status.is_ok() || failed == pieces.size() ? status : of_tensor(status, pieces[failed].tensor->name);
}

}  // namespace edgemoe
