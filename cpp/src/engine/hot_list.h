// Which experts of a model were used most in the last runs: what is read first in the next one.
//
// A file in the user's cache folder, of at most some tens of kilobytes: "EMHOT001", the model's key, the number of
// experts, for each its layer, its number (int32) and its score (float), and a checksum of all that; in the byte order
// of the machine.
#pragma once

#include "base/expert_id.h"
#include "base/status.h"
#include "engine/model_identity.h"
#include "storage/expert_index.h"
#include "store/expert_store.h"

#include <cstdint>
#include <string>
#include <vector>

namespace edgemoe {

class HotList {
public:
    struct Entry {
        ExpertId id;
        float score = 0;  // of the run's most used expert 1, and half as much with each later run
    };

    // The file of a model in `folder`.
    static std::string path_of(const std::string & folder, const ModelIdentity & model);

    // What the file holds; an empty list when there is none, or it is damaged, of another model or not to be read.
    static HotList read(const std::string & path, const ModelIdentity & model, const ExpertIndex & index);

    // Adds a run. False, and nothing is changed, when no expert was used in it.
    bool add(const std::vector<ExpertStore::Use> & uses);

    // Makes the file, and its folder, or replaces it as a whole. kIo, kNotFound.
    Status write(const std::string & path, const ModelIdentity & model) const;

    // The hottest first.
    const std::vector<Entry> & entries() const { return entries_; }
    std::vector<ExpertId> ids() const;

private:
    std::vector<Entry> entries_;
};

}  // namespace edgemoe
