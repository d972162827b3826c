// Invariant: while changed_ is false, what the store's cache holds was converted with the changes that are in force.
#include "engine/perturbed_model.h"

#include "engine/perturbed_rows.h"

#include <fcntl.h>
#include <unistd.h>
#include <cerrno>
#include <cstring>

namespace edgemoe {

// The file's logits of the scored tokens, in an unnamed file.
class PerturbedModel::Reference {
public:
    explicit Reference(int32_t n_vocab) : row_bytes_(static_cast<size_t>(n_vocab) * sizeof(float)) {}
    ~Reference() {
        if (fd_ >= 0) {
            ::close(fd_);
        }
    }
    Reference(const Reference &) = delete;
    Reference & operator=(const Reference &) = delete;

    Status create(const std::string & folder) {
        std::string name = (folder.empty() ? std::string(".") : folder) + "/edgemoe-logits-XXXXXX";
        fd_ = ::mkstemp(name.data());
        if (fd_ < 0) {
            return Status(StatusCode::kIo, name + ": cannot be created: " + std::strerror(errno));
        }
        ::unlink(name.c_str());
        name_ = name;
        return Status::ok();
    }

    Status append(const float * row) {
        Status status = transfer(n_rows_, const_cast<float *>(row), true);
        n_rows_ += status.is_ok() ? 1 : 0;
        return status;
    }
    Status read(size_t row, float * values) const { return transfer(row, values, false); }
    size_t n_rows() const { return n_rows_; }

private:
    Status transfer(size_t row, float * values, bool writes) const {
        auto * data = reinterpret_cast<char *>(values);
        for (size_t done = 0; done < row_bytes_;) {
            const auto offset = static_cast<off_t>(row * row_bytes_ + done);
            const ssize_t n = writes ? ::pwrite(fd_, data + done, row_bytes_ - done, offset)
                                     : ::pread(fd_, data + done, row_bytes_ - done, offset);
            if (n <= 0 && !(n < 0 && errno == EINTR)) {
                return Status(StatusCode::kIo, name_ + ": " + (writes ? "writing" : "reading") + " at offset " +
                                                   std::to_string(offset) + ": " +
                                                   (n == 0 ? "unexpected end of file" : std::strerror(errno)));
            }
            done += n > 0 ? static_cast<size_t>(n) : 0;
        }
        return Status::ok();
    }

    size_t row_bytes_;
    size_t n_rows_ = 0;
    int fd_ = -1;
    std::string name_;
};

PerturbedModel::PerturbedModel() = default;
PerturbedModel::~PerturbedModel() = default;

Result<std::unique_ptr<PerturbedModel>> PerturbedModel::load(const std::string & path, const LoadOptions & options,
                                                             const std::vector<int32_t> & tokens, uint32_t n_ctx,
                                                             const std::string & scratch_folder) {
    if (n_ctx < 4 || tokens.size() < n_ctx) {
        return Status(StatusCode::kInvalidArgument,
                      std::to_string(tokens.size()) + " tokens are less than a window of " + std::to_string(n_ctx));
    }
    std::unique_ptr<PerturbedModel> perturbed(new PerturbedModel());
    perturbed->tokens_ = tokens;
    perturbed->scratch_folder_ = scratch_folder;
    Result<std::unique_ptr<Model>> model =
        Model::load(path, window_options(options, n_ctx, n_ctx - n_ctx / 2),
                    [&](const ExpertIndex & index, const RowConverter & layout) -> std::unique_ptr<RowConverter> {
                        auto rows = std::make_unique<PerturbedRows>(index, layout);
                        perturbed->rows_ = rows.get();
                        return rows;
                    });
    if (!model.is_ok()) {
        return model.status();
    }
    if (perturbed->rows_ == nullptr) {
        return Status(StatusCode::kUnsupported, path + ": has no routed experts");
    }
    perturbed->model_ = std::move(model).value();
    Result<std::unique_ptr<WindowEvaluator>> evaluator = WindowEvaluator::create(*perturbed->model_, nullptr, nullptr);
    if (!evaluator.is_ok()) {
        return evaluator.status();
    }
    perturbed->evaluator_ = std::move(evaluator).value();
    return perturbed;
}

void PerturbedModel::clear() {
    rows_->clear();
    changed_ = true;
}

Status PerturbedModel::quantize(int32_t layer, int32_t expert, Projection projection, int32_t type,
                                const std::vector<float> & importance) {
    changed_ = true;
    if (expert >= 0) {
        return rows_->quantize({layer, expert}, projection, type, importance);
    }
    for (int32_t e = 0; e == 0 || rows_->index().find({layer, e}) != nullptr; e++) {
        const Status status = rows_->quantize({layer, e}, projection, type, importance);
        if (!status.is_ok()) {
            return status;
        }
    }
    return Status::ok();
}

Status PerturbedModel::replace(ExpertId id, Projection projection, int32_t type, const std::byte * blocks,
                               size_t bytes) {
    changed_ = true;
    return rows_->replace(id, projection, type, blocks, bytes);
}

// REQUIRES: no change is in force.
Status PerturbedModel::compute_reference(const JobProgress & progress) {
    auto reference = std::make_unique<Reference>(evaluator_->n_vocab());
    Status status = reference->create(scratch_folder_);
    if (!status.is_ok()) {
        return status;
    }
    ProgressMeter meter(progress, "evaluating the base model");
    status = score_windows(tokens_, static_cast<int32_t>(model_->options().n_ctx), *evaluator_, meter,
                           [&](const WindowBatch &, const std::vector<int32_t> & rows, const std::vector<int32_t> &) {
                               for (int32_t row : rows) {
                                   const Status written = reference->append(evaluator_->logits(row));
                                   if (!written.is_ok()) {
                                       return written;
                                   }
                               }
                               return Status::ok();
                           });
    if (status.is_ok()) {
        reference_ = std::move(reference);
    }
    return status;
}

Result<Evaluation> PerturbedModel::measure(const JobProgress & progress) {
    if (reference_ == nullptr) {
        PerturbedRows kept(rows_->index(), *rows_);
        rows_->swap_changes(kept);
        model_->store()->evict_all();
        const Status status = compute_reference(progress);
        rows_->swap_changes(kept);
        changed_ = true;
        if (!status.is_ok()) {
            return status;
        }
    }
    if (changed_) {
        model_->store()->evict_all();
        changed_ = false;
    }
    const auto n_vocab = static_cast<size_t>(evaluator_->n_vocab());
    EvaluationSum sum;
    ProgressMeter meter(progress, "measuring");
    size_t n_scored = 0;
    std::vector<float> base;
    std::vector<const float *> logits, base_rows;
    const Status status = score_windows(
        tokens_, static_cast<int32_t>(model_->options().n_ctx), *evaluator_, meter,
        [&](const WindowBatch &, const std::vector<int32_t> & rows, const std::vector<int32_t> & targets) {
            base.resize(rows.size() * n_vocab);
            logits.clear();
            base_rows.clear();
            for (size_t i = 0; i < rows.size(); i++) {
                const Status read = reference_->read(n_scored++, base.data() + i * n_vocab);
                if (!read.is_ok()) {
                    return read;
                }
                logits.push_back(evaluator_->logits(rows[i]));
                base_rows.push_back(base.data() + i * n_vocab);
            }
            sum.add(logits, base_rows, targets, evaluator_->n_vocab(), model_->n_threads());
            return Status::ok();
        });
    if (!status.is_ok()) {
        return status;
    }
    return sum.result();
}

}  // namespace edgemoe
