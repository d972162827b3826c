// What tests of the expert store share: a file of experts whose every byte is known, and a computation that checks
// them.
#pragma once

#include "reader_testing.h"
#include "storage/crc32c.h"
#include "store/expert_store.h"
#include "temporary_file.h"

#include <doctest/doctest.h>

#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace edgemoe::test {

constexpr ProjectionMask kGateAndUp =
    static_cast<ProjectionMask>(projection_bit(Projection::kGate) | projection_bit(Projection::kUp));
constexpr ProjectionMask kDownOnly = projection_bit(Projection::kDown);
constexpr ProjectionMask kWhole = static_cast<ProjectionMask>(kGateAndUp | kDownOnly);

class CopyConverter final : public RowConverter {
public:
    void convert(const ExpertPart & part, int64_t, int64_t n_rows, const std::byte * source,
                 std::byte * destination) const override {
        std::memcpy(destination, source, static_cast<size_t>(n_rows) * (part.bytes / static_cast<uint64_t>(part.rows)));
    }
};

struct Shape {
    int32_t n_layers = 2;
    int32_t n_experts = 4;
    int64_t rows = 64;  // of each of the three matrices
    uint64_t row_bytes = 64;
    uint64_t first_offset = 100;  // in the file: not aligned to anything
    int32_t n_experts_used = 2;

    uint64_t part_bytes() const { return static_cast<uint64_t>(rows) * row_bytes; }
    uint64_t expert_bytes() const { return 3 * part_bytes(); }
    uint64_t file_bytes() const {
        return first_offset + static_cast<uint64_t>(n_layers) * static_cast<uint64_t>(n_experts) * expert_bytes();
    }
};

// Experts in a pattern file, gate, up and down one after the other, expert after expert; the file ends with the last.
class ExpertFile {
public:
    enum class Checksums { kNone, kKept };

    explicit ExpertFile(Shape shape, Checksums checksums = Checksums::kNone)
        : shape_(shape), temporary_(shape.file_bytes()) {
        std::vector<ExpertLayer> layers;
        uint64_t offset = shape.first_offset;
        for (int32_t layer = 0; layer < shape.n_layers; ++layer) {
            ExpertLayer experts;
            experts.layer = layer;
            for (int32_t expert = 0; expert < shape.n_experts; ++expert) {
                ExpertParts parts;
                for (const Projection projection : {Projection::kGate, Projection::kUp, Projection::kDown}) {
                    ExpertPart & part = parts[static_cast<size_t>(projection)];
                    part.present = true;
                    part.offset = offset;
                    part.bytes = shape.part_bytes();
                    part.columns = static_cast<int64_t>(shape.row_bytes);
                    part.rows = shape.rows;
                    if (checksums == Checksums::kKept) {
                        part.checksum = pattern_checksum(part.offset, part.bytes);
                    }
                    offset += part.bytes;
                }
                experts.experts.push_back(parts);
            }
            layers.push_back(std::move(experts));
        }
        index_ = ExpertIndex({open_file(temporary_.path(), false)}, std::move(layers), shape.n_experts_used);
    }

    const Shape & shape() const { return shape_; }
    const ExpertIndex & index() const { return index_; }
    const std::string & path() const { return temporary_.path(); }

    // A store of `n_slots` experts (all are of one size) over `reader`.
    std::unique_ptr<ExpertStore> make_store(uint64_t n_slots, std::unique_ptr<AsyncReader> reader, size_t n_staging = 8,
                                            const std::string & policy = "lru", bool in_place = false,
                                            Prefetch prefetch = Prefetch::kOff, uint64_t most_joined_bytes = 0) const {
        ExpertStoreOptions options;
        options.cache_bytes = n_slots * shape_.expert_bytes();
        options.policy = make_eviction_policy(policy, {shape_.n_layers, shape_.n_experts}).value();
        options.reader = std::move(reader);
        options.n_staging = n_staging;
        options.in_place = in_place;
        options.prefetch = prefetch;
        options.most_joined_bytes = most_joined_bytes;
        if (in_place) {
            options.cache_bytes += n_slots * 3 * FileMapping::page_bytes();  // the pages at the matrices' borders
        }
        Result<std::unique_ptr<ExpertStore>> store = ExpertStore::create(index_, converter_, std::move(options));
        REQUIRE_MESSAGE(store.is_ok(), store.status().message());
        return std::move(store).value();
    }

    // True if `matrix` is what the file holds of the expert's projection.
    bool holds(ExpertId id, Projection projection, const std::byte * matrix) const {
        const ExpertPart & part = index_.parts(id)[static_cast<size_t>(projection)];
        return matching_bytes(matrix, part.bytes, part.offset) == part.bytes;
    }

private:
    static uint32_t pattern_checksum(uint64_t offset, uint64_t bytes) {
        std::vector<std::byte> pattern(bytes);
        for (uint64_t i = 0; i < bytes; ++i) {
            pattern[i] = pattern_byte(offset + i);
        }
        return crc32c(pattern.data(), pattern.size());
    }

    Shape shape_;
    TemporaryFile temporary_;
    ExpertIndex index_;
    CopyConverter converter_;
};

inline std::vector<Projection> projections_of(ProjectionMask mask) {
    std::vector<Projection> projections;
    for (size_t p = 0; p < kProjectionCount; ++p) {
        if ((mask & (1U << p)) != 0) {
            projections.push_back(static_cast<Projection>(p));
        }
    }
    return projections;
}

// Whether the i-th expert of `lease` is there.
inline bool is_there(const Lease & lease, size_t i, ProjectionMask mask) {
    for (const Projection projection : projections_of(mask)) {
        if (lease.data(i, projection) == nullptr) {
            return false;
        }
    }
    return true;
}

// Takes each expert of the layer as it comes, checks its bytes and releases it, on this thread. The lease's failure, if
// it has one.
inline Status serve(const ExpertFile & file, ExpertStore & store, int32_t layer, ProjectionMask mask,
                    const std::vector<int32_t> & experts) {
    Result<LeasePtr> acquired = store.acquire(layer, mask, experts);
    if (!acquired.is_ok()) {
        return acquired.status();
    }
    Lease & lease = *acquired.value();
    std::vector<bool> served(experts.size(), false);
    for (size_t left = experts.size(); left > 0;) {
        bool some = false;
        for (size_t i = 0; i < experts.size(); ++i) {
            if (served[i] || !is_there(lease, i, mask)) {
                continue;
            }
            for (const Projection projection : projections_of(mask)) {
                CHECK(file.holds({layer, experts[i]}, projection, lease.data(i, projection)));
            }
            lease.release(i);
            served[i] = some = true;
            --left;
        }
        CHECK(store.resident_bytes() <= store.cache_bytes());
        if (!some && !lease.progress(true)) {
            REQUIRE_MESSAGE(lease.failed(), "nothing is there and nothing will come");
            return lease.status();
        }
    }
    return Status::ok();
}

}  // namespace edgemoe::test
