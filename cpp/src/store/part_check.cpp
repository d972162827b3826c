// A CRC is linear: the checksum of the whole is the exclusive or of its pieces', each moved to its place.
#include "store/part_check.h"

#include "storage/crc32c.h"

namespace edgemoe {

void PartCheck::begin() {
    checksum_.store(0, std::memory_order_relaxed);
    bytes_.store(0, std::memory_order_relaxed);
}

Status PartCheck::add(const ExpertPart & part, const std::string & path, uint64_t first, const std::byte * data,
                      size_t bytes) {
    if (!part.checksum.has_value() || verified_.load(std::memory_order_relaxed)) {
        return Status::ok();
    }
    checksum_.fetch_xor(crc32c_combine(crc32c(data, bytes), 0, part.bytes - first - bytes), std::memory_order_relaxed);
    // Whoever brings the last byte sees what all others have added.
    if (bytes_.fetch_add(bytes, std::memory_order_acq_rel) + bytes != part.bytes) {
        return Status::ok();
    }
    if (checksum_.load(std::memory_order_relaxed) != *part.checksum) {
        return Status(StatusCode::kFormat, path + ": the " + std::to_string(part.bytes) + " bytes at offset " +
                                               std::to_string(part.offset) +
                                               " are damaged: their checksum is wrong; get the file again");
    }
    verified_.store(true, std::memory_order_relaxed);
    return Status::ok();
}

}  // namespace edgemoe
