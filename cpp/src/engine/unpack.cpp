#include "engine/unpack.h"

#include "backend/expert_buffer_type.h"
#include "engine/expert_bytes.h"
#include "engine/gguf_header.h"
#include "engine/gguf_source.h"
#include "engine/load_options.h"
#include "engine/log.h"
#include "engine/memory_plan.h"
#include "engine/requantize.h"
#include "storage/direct_read.h"
#include "storage/output_file.h"

#include <algorithm>
#include <optional>
#include <vector>

namespace edgemoe {

namespace {

constexpr uint64_t kCopyBytes = 4 << 20;

double bits_per_weight(int32_t type) {
    const auto of = static_cast<ggml_type>(type);
    return 8.0 * static_cast<double>(ggml_type_size(of)) / static_cast<double>(ggml_blck_size(of));
}

// The experts' matrices behind a stacked tensor.
struct Stack {
    int32_t layer = 0;
    Projection projection = Projection::kGate;
    const ExpertLayer * experts = nullptr;

    const ExpertPart & part(size_t expert) const { return experts->experts[expert][static_cast<size_t>(projection)]; }
};

class Unpacking {
public:
    Unpacking(const GgufSource & source, std::optional<int32_t> type, int32_t n_threads, const JobProgress & progress)
        : source_(source),
          type_(type),
          n_threads_(n_threads),
          meter_(progress, "unpacking"),
          header_(source.metadata(), GGUF_DEFAULT_ALIGNMENT) {}

    Status run(const std::string & output) {
        Status status = lay_out();
        if (!status.is_ok()) {
            return status;
        }
        const std::vector<std::byte> head = header_.bytes();
        Result<std::unique_ptr<OutputFile>> file = OutputFile::create(output, head.size() + header_.data_bytes());
        if (!file.is_ok()) {
            return file.status();
        }
        file_ = std::move(file).value();
        status = file_->write(0, head.data(), head.size());
        for (size_t i = 0; i < source_.tensors().size() && status.is_ok(); i++) {
            const uint64_t offset = head.size() + offsets_[i];
            status = source_.tensors()[i].expert ? write_stack(i, offset) : copy(source_.tensors()[i], offset);
        }
        return status.is_ok() ? file_->commit() : status;
    }

private:
    Stack stack_of(const GgufSource::Tensor & tensor) const {
        Stack stack;
        parse_expert_tensor_name(tensor.name.c_str(), &stack.layer, &stack.projection);
        for (const ExpertLayer & layer : source_.experts().layers()) {
            if (layer.layer == stack.layer) {
                stack.experts = &layer;
            }
        }
        return stack;
    }

    int32_t type_of(const Stack & stack) const {
        if (type_.has_value()) {
            return *type_;
        }
        int32_t widest = stack.part(0).type;
        for (size_t expert = 1; expert < stack.experts->experts.size(); expert++) {
            const int32_t type = stack.part(expert).type;
            widest = bits_per_weight(type) > bits_per_weight(widest) ? type : widest;
        }
        return widest;
    }

    Status lay_out() {
        for (size_t i = 0; i < source_.tensors().size(); i++) {
            const GgufSource::Tensor & tensor = source_.tensors()[i];
            const ggml_tensor & shape = *source_.shape(i);
            const int32_t type = tensor.expert ? type_of(stack_of(tensor)) : tensor.type;
            if (shape.ne[0] % ggml_blck_size(static_cast<ggml_type>(type)) != 0) {
                return Status(StatusCode::kInvalidArgument,
                              source_.path() + ": tensor " + tensor.name + ": its rows of " +
                                  std::to_string(shape.ne[0]) + " cannot be of " +
                                  ggml_type_name(static_cast<ggml_type>(type)) + "; choose another type");
            }
            // A stack of one expert keeps its third dimension.
            const int n_dims = tensor.expert ? 3 : ggml_n_dims(&shape);
            types_.push_back(type);
            offsets_.push_back(
                header_.add_tensor(tensor.name, type, std::vector<int64_t>(shape.ne, shape.ne + n_dims)));
        }
        return Status::ok();
    }

    Status copy(const GgufSource::Tensor & tensor, uint64_t offset) {
        Status status;
        for (uint64_t done = 0; done < tensor.bytes && status.is_ok();) {
            read_.resize(std::min(kCopyBytes, tensor.bytes - done));
            status =
                read_past_page_cache(*source_.files()[tensor.file], tensor.offset + done, read_.size(), read_.data());
            if (status.is_ok()) {
                status = file_->write(offset + done, read_.data(), read_.size());
            }
            done += read_.size();
            status = status.is_ok() ? advance(read_.size()) : status;
        }
        return status;
    }

    Status write_stack(size_t tensor, uint64_t offset) {
        const Stack stack = stack_of(source_.tensors()[tensor]);
        Status status;
        for (size_t expert = 0; expert < stack.experts->experts.size() && status.is_ok(); expert++) {
            const ExpertPart & part = stack.part(expert);
            status = read_matrix(source_, {stack.layer, static_cast<int32_t>(expert)}, stack.projection, &read_);
            if (!status.is_ok()) {
                break;
            }
            converted_.resize(ggml_row_size(static_cast<ggml_type>(types_[tensor]), part.columns) *
                              static_cast<size_t>(part.rows));
            requantize(part.type, read_.data(), types_[tensor], converted_.data(), part.rows, part.columns, n_threads_);
            status = file_->write(offset, converted_.data(), converted_.size());
            offset += converted_.size();
            status = status.is_ok() ? advance(read_.size()) : status;
        }
        return status;
    }

    Status advance(uint64_t bytes) {
        done_ += bytes;
        const double all = static_cast<double>(source_.hot_bytes() + source_.experts().total_bytes());
        return meter_.report(static_cast<double>(done_) / all)
                   ? Status::ok()
                   : Status(StatusCode::kCancelled, file_->path() + ": unpacking was stopped");
    }

    const GgufSource & source_;
    std::optional<int32_t> type_;
    int32_t n_threads_;
    ProgressMeter meter_;
    GgufHeader header_;
    std::vector<int32_t> types_;     // by the source's tensor number
    std::vector<uint64_t> offsets_;  // of the data, by the source's tensor number
    std::unique_ptr<OutputFile> file_;
    uint64_t done_ = 0;
    std::vector<std::byte> read_;
    std::vector<std::byte> converted_;
};

}  // namespace

Status unpack(const std::string & path, const std::string & output, const UnpackOptions & options,
              const JobProgress & progress) {
    initialize_log();
    LoadOptions load;
    load.n_threads = options.n_threads;
    if (options.n_threads < 0) {
        return Status(StatusCode::kInvalidArgument, "n_threads must be at least 1, or 0 for all cores");
    }
    std::optional<int32_t> type;
    if (!options.type.empty()) {
        const Result<int32_t> parsed = parse_weight_type(options.type);
        if (!parsed.is_ok()) {
            return parsed.status();
        }
        type = parsed.value();
    }
    Result<std::unique_ptr<GgufSource>> source = GgufSource::open(path, /*want_direct=*/true);
    if (!source.is_ok()) {
        return source.status();
    }
    if (!source.value()->packed()) {
        return Status(StatusCode::kInvalidArgument, path + ": is not a packed file, there is nothing to unpack");
    }
    return Unpacking(*source.value(), type, thread_count(load), progress).run(output);
}

}  // namespace edgemoe
