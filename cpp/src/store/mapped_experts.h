// The experts of a model where their files are mapped: addresses of matrices, and which pages go when one is evicted.
#pragma once

#include "base/status.h"
#include "storage/expert_index.h"
#include "storage/file_mapping.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace edgemoe {

// Matrices lie one after the other, so the page at their border belongs to both: it goes when both are gone.
// Not thread-safe: guarded by the store's mutex, but for address(), drop() and check_unchanged().
class MappedExperts {
public:
    // Whole pages of one file.
    struct Span {
        const FileMapping * mapping = nullptr;
        uint64_t offset = 0;
        uint64_t bytes = 0;
    };

    // Maps all files of `index`, which outlives the object. kIo when one cannot be mapped.
    static Result<std::unique_ptr<MappedExperts>> create(const ExpertIndex & index);

    // What of `cache_bytes` is left for matrices, when the pages at their borders count too: on average one a matrix.
    static uint64_t matrix_budget(const ExpertIndex & index, uint64_t cache_bytes);

    std::byte * address(const ExpertPart & part) const { return mappings_[part.file]->data() + part.offset; }

    // From now on its pages stay, until release(). REQUIRES: present.
    void retain(const ExpertPart & part) { find(part).is_retained = true; }
    // Appends what may be dropped now to *spans.
    void release(const ExpertPart & part, std::vector<Span> * spans);

    static void drop(const Span & span) { span.mapping->drop(span.offset, span.bytes); }

    // kIo, when one of the files is not what it was: a touch of it may be a bus error.
    Status check_unchanged() const;

private:
    struct Matrix {
        uint32_t file = 0;
        uint64_t offset = 0;
        uint64_t first_page = 0;
        uint64_t end_page = 0;
        bool is_retained = false;
    };

    MappedExperts() = default;
    Matrix & find(const ExpertPart & part);

    std::vector<std::unique_ptr<FileMapping>> mappings_;  // by file
    std::vector<Matrix> matrices_;                        // by file and offset
};

}  // namespace edgemoe
