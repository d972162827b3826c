#include "store/mapped_experts.h"

#include "base/checked.h"

#include <algorithm>
#include <cassert>
#include <tuple>

namespace edgemoe {

Result<std::unique_ptr<MappedExperts>> MappedExperts::create(const ExpertIndex & index) {
    std::unique_ptr<MappedExperts> experts(new MappedExperts());
    for (const std::shared_ptr<const File> & file : index.files()) {
        Result<std::unique_ptr<FileMapping>> mapping = FileMapping::map(file);
        if (!mapping.is_ok()) {
            return mapping.status();
        }
        experts->mappings_.push_back(std::move(mapping).value());
    }
    const uint64_t page_bytes = FileMapping::page_bytes();
    for (const ExpertLayer & layer : index.layers()) {
        for (const ExpertParts & parts : layer.experts) {
            for (const ExpertPart & part : parts) {
                if (part.present) {
                    experts->matrices_.push_back({part.file, part.offset, part.offset / page_bytes,
                                                  (part.offset + part.bytes + page_bytes - 1) / page_bytes, false});
                }
            }
        }
    }
    std::sort(experts->matrices_.begin(), experts->matrices_.end(), [](const Matrix & a, const Matrix & b) {
        return std::tie(a.file, a.offset) < std::tie(b.file, b.offset);
    });
    return experts;
}

uint64_t MappedExperts::matrix_budget(const ExpertIndex & index, uint64_t cache_bytes) {
    if (cache_bytes >= index.total_bytes()) {
        return cache_bytes;  // what is whole has no borders
    }
    uint64_t n_matrices = 0;
    for (const ExpertLayer & layer : index.layers()) {
        for (const ExpertParts & parts : layer.experts) {
            n_matrices += static_cast<uint64_t>(
                std::count_if(parts.begin(), parts.end(), [](const ExpertPart & part) { return part.present; }));
        }
    }
    const auto bytes = static_cast<double>(index.total_bytes());
    const double page_bytes = static_cast<double>(FileMapping::page_bytes()) * static_cast<double>(n_matrices);
    return static_cast<uint64_t>(static_cast<double>(cache_bytes) * bytes / (bytes + page_bytes));
}

MappedExperts::Matrix & MappedExperts::find(const ExpertPart & part) {
    const auto found = std::lower_bound(
        matrices_.begin(), matrices_.end(), part, [](const Matrix & matrix, const ExpertPart & wanted) {
            return std::tie(matrix.file, matrix.offset) < std::tie(wanted.file, wanted.offset);
        });
    assert(found != matrices_.end() && found->file == part.file && found->offset == part.offset);
    return *found;
}

void MappedExperts::release(const ExpertPart & part, std::vector<Span> * spans) {
    Matrix & released = find(part);
    released.is_retained = false;
    uint64_t first_page = released.first_page;
    uint64_t end_page = released.end_page;
    // Small matrices may lie several to a page.
    for (const Matrix * before = &released;
         before != matrices_.data() && (--before)->file == part.file && before->end_page > released.first_page;) {
        first_page = before->is_retained ? std::max(first_page, before->end_page) : first_page;
    }
    const Matrix * end = matrices_.data() + matrices_.size();
    for (const Matrix * behind = &released + 1;
         behind != end && behind->file == part.file && behind->first_page < released.end_page; ++behind) {
        end_page = behind->is_retained ? std::min(end_page, behind->first_page) : end_page;
    }
    if (first_page < end_page) {
        const uint64_t page_bytes = FileMapping::page_bytes();
        spans->push_back({mappings_[part.file].get(), first_page * page_bytes, (end_page - first_page) * page_bytes});
    }
}

Status MappedExperts::check_unchanged() const {
    for (const std::unique_ptr<FileMapping> & mapping : mappings_) {
        if (Status status = mapping->file().check_unchanged(); !status.is_ok()) {
            return status;
        }
    }
    return Status::ok();
}

}  // namespace edgemoe
