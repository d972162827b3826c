#include "engine/expert_bytes.h"

#include "storage/crc32c.h"
#include "storage/direct_read.h"

namespace edgemoe {

Status read_matrix(const GgufSource & source, ExpertId id, Projection projection, std::vector<std::byte> * bytes) {
    const ExpertPart & part = source.experts().parts(id)[static_cast<size_t>(projection)];
    const File & file = *source.files()[part.file];
    bytes->resize(part.bytes);
    Status status = read_past_page_cache(file, part.offset, bytes->size(), bytes->data());
    if (status.is_ok() && part.checksum.has_value() && crc32c(bytes->data(), bytes->size()) != *part.checksum) {
        status = Status(StatusCode::kFormat, file.path() + ": the " + std::to_string(part.bytes) + " bytes at offset " +
                                                 std::to_string(part.offset) +
                                                 " are damaged: their checksum is wrong; get the file again");
    }
    return status.is_ok()
               ? status
               : Status(status.code(), status.message() + " (blk." + std::to_string(id.layer) + " expert " +
                                           std::to_string(id.expert) + " " + projection_name(projection) + ")");
}

Status read_expert(const GgufSource & source, ExpertId id, ExpertBytes * bytes) {
    const ExpertParts & parts = source.experts().parts(id);
    for (size_t p = 0; p < kProjectionCount; p++) {
        (*bytes)[p].clear();
        if (parts[p].present) {
            Status status = read_matrix(source, id, static_cast<Projection>(p), &(*bytes)[p]);
            if (!status.is_ok()) {
                return status;
            }
        }
    }
    return Status::ok();
}

}  // namespace edgemoe
