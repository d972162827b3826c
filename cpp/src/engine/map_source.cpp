#include "engine/map_source.h"

#include "engine/map_file.h"
#include "engine/map_training.h"
#include "engine/packed_format.h"

namespace edgemoe {

Result<ExpertMaps> maps_for(const GgufSource & source, const LoadOptions & options, MapContent content) {
    if (!options.predict || !options.streaming || source.experts().empty()) {
        return ExpertMaps();
    }
    ExpertMaps trained;
    const std::string & path = options.profile.empty() ? source.path() : options.profile;
    if (!options.profile.empty() || source.packed()) {
        Result<ExpertMaps> read = read_maps(path, options.profile.empty() ? kPackedPrefix : kProfilePrefix, content);
        if (!read.is_ok()) {
            return read;
        }
        trained = std::move(read).value();
    }
    if (!trained.fit(source.experts())) {
        return Status(StatusCode::kInvalidArgument,
                      path + ": what it has to predict experts by is of another model than " + source.path());
    }
    // Untrained maps know no next use, so that they serve nothing but reading ahead.
    return trained.empty() && options.prefetch != Prefetch::kOff ? untrained_maps(source, content) : trained;
}

}  // namespace edgemoe
