#include "engine/pack_unchanged.h"

#include "engine/log.h"
#include "engine/map_file.h"
#include "engine/packed_format.h"
#include "engine/packed_writer.h"

namespace edgemoe {

Status pack_unchanged(const std::string & path, const std::string & output, const JobProgress & progress) {
    initialize_log();
    Result<std::unique_ptr<GgufSource>> opened = GgufSource::open(path, /*want_direct=*/true);
    if (!opened.is_ok()) {
        return opened.status();
    }
    const GgufSource & source = *opened.value();
    const Result<ExpertMaps> maps =
        source.packed() ? read_maps(source.path(), kPackedPrefix) : Result<ExpertMaps>(ExpertMaps());
    if (!maps.is_ok()) {
        return maps.status();
    }
    Result<std::unique_ptr<PackedWriter>> created =
        PackedWriter::create(source, output, stored_types(source.experts()), {}, &maps.value());
    if (!created.is_ok()) {
        return created.status();
    }
    PackedWriter & writer = *created.value();
    const double all = static_cast<double>(source.hot_bytes() + source.experts().total_bytes());
    uint64_t done = 0;
    ProgressMeter meter(progress, "packing");
    const auto advance = [&](uint64_t bytes) {
        done += bytes;
        return meter.report(static_cast<double>(done) / all);
    };
    Status status = writer.write_hot(advance);
    ExpertBytes bytes;
    for (const ExpertLayer & layer : source.experts().layers()) {
        for (size_t expert = 0; expert < layer.experts.size() && status.is_ok(); expert++) {
            const ExpertId id = {layer.layer, static_cast<int32_t>(expert)};
            status = read_expert(source, id, &bytes);
            if (status.is_ok()) {
                status = writer.write_expert(id, bytes);
            }
            if (status.is_ok() && !advance(source.experts().expert_bytes(id))) {
                status = Status(StatusCode::kCancelled, output + ": packing was stopped");
            }
        }
    }
    return status.is_ok() ? writer.finish() : status;
}

}  // namespace edgemoe
