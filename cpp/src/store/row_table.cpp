#include "store/row_table.h"

#include "base/checked.h"
#include "storage/bulk_read.h"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <map>
#include <string>
#include <utility>

namespace edgemoe {

namespace {

constexpr size_t kReadsInFlight = 8;
constexpr size_t kMergedBytes = 64 << 10;  // longer than this, a read of neighbours is split

size_t slots_of(const RowTablePlace & place, size_t window_bytes) {
    return std::max<size_t>(1, window_bytes / place.row_bytes);
}

size_t longest_read(const RowTablePlace & place) {
    return static_cast<size_t>(align_up(std::max(kMergedBytes, place.row_bytes), kDirectAlignment)) + kDirectAlignment;
}

}  // namespace

Result<std::unique_ptr<RowTable>> RowTable::create(const RowTablePlace & place, size_t window_bytes,
                                                   AsyncReader & reader) {
    const size_t n_slots = slots_of(place, window_bytes);
    Result<AlignedMemory> window =
        AlignedMemory::allocate(n_slots * place.row_bytes, AlignedMemory::Access::kReadWrite);
    if (!window.is_ok()) {
        return window.status();
    }
    return std::unique_ptr<RowTable>(new RowTable(place, reader, std::move(window).value(), n_slots));
}

RowTable::RowTable(const RowTablePlace & place, AsyncReader & reader, AlignedMemory window, size_t n_slots)
    : place_(place), reader_(reader), window_(std::move(window)), n_slots_(n_slots) {}

uint64_t RowTable::memory_bytes(const RowTablePlace & place, size_t window_bytes) {
    return slots_of(place, window_bytes) * place.row_bytes + kReadsInFlight * longest_read(place);
}

Status RowTable::visit(const std::vector<int32_t> & rows, const Use & use) {
    std::map<int32_t, std::vector<size_t>> wanted;  // in the order of the file
    for (size_t i = 0; i < rows.size(); i++) {
        if (rows[i] < 0 || rows[i] >= place_.n_rows) {
            return Status(StatusCode::kInvalidArgument, place_.file->path() + ": row " + std::to_string(rows[i]) +
                                                            " of a table of " + std::to_string(place_.n_rows));
        }
        wanted[rows[i]].push_back(i);
    }
    for (auto row = wanted.begin(); row != wanted.end();) {
        const auto kept = kept_.find(row->first);
        if (kept == kept_.end()) {
            ++row;
            continue;
        }
        use(row->second, window_.data() + kept->second.slot * place_.row_bytes);
        by_age_.splice(by_age_.begin(), by_age_, kept->second.age);
        row = wanted.erase(row);
    }

    // One read for rows whose blocks touch.
    std::vector<Stretch> stretches;
    std::vector<std::map<int32_t, std::vector<size_t>>::const_iterator> first_row;  // of each stretch
    for (auto row = wanted.cbegin(); row != wanted.cend(); ++row) {
        const uint64_t begin = place_.offset + static_cast<uint64_t>(row->first) * place_.row_bytes;
        const uint64_t end = begin + place_.row_bytes;
        Stretch * last = stretches.empty() ? nullptr : &stretches.back();
        if (last != nullptr && end - last->offset <= kMergedBytes &&
            align_down(begin, kDirectAlignment) <= align_up(last->offset + last->bytes, kDirectAlignment)) {
            last->bytes = static_cast<size_t>(end - last->offset);
            continue;
        }
        stretches.push_back({place_.file, begin, place_.row_bytes});
        first_row.push_back(row);
    }
    first_row.push_back(wanted.cend());

    BulkReadOptions options;
    options.n_buffers = kReadsInFlight;
    size_t failed = 0;
    const auto take = [&](size_t i, const std::byte * data) {
        for (auto row = first_row[i]; row != first_row[i + 1]; ++row) {
            const uint64_t begin = place_.offset + static_cast<uint64_t>(row->first) * place_.row_bytes;
            const std::byte * bytes = data + (begin - stretches[i].offset);
            use(row->second, bytes);
            keep(row->first, bytes);
        }
        read_bytes_.fetch_add(stretches[i].bytes, std::memory_order_relaxed);
    };
    return bulk_read(stretches, reader_, options, take, &failed);
}

void RowTable::keep(int32_t row, const std::byte * bytes) {
    size_t slot = kept_.size();
    if (slot == n_slots_) {
        const auto oldest = kept_.find(by_age_.back());
        slot = oldest->second.slot;
        kept_.erase(oldest);
        by_age_.pop_back();
    }
    std::memcpy(window_.data() + slot * place_.row_bytes, bytes, place_.row_bytes);
    by_age_.push_front(row);
    kept_[row] = {slot, by_age_.begin()};
}

}  // namespace edgemoe
