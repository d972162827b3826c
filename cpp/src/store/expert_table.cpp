#include "store/expert_table.h"

namespace edgemoe {

ExpertTable::ExpertTable(const ExpertIndex & index) : entries_(index.n_experts()) {
    int32_t next = 0;
    for (const ExpertLayer & layer : index.layers()) {
        first_entry_.resize(static_cast<size_t>(layer.layer) + 1, -1);
        n_experts_.resize(first_entry_.size(), 0);
        first_entry_.back() = next;
        n_experts_.back() = static_cast<int32_t>(layer.experts.size());
        for (size_t expert = 0; expert < layer.experts.size(); expert++) {
            ExpertEntry & entry = entries_[static_cast<size_t>(next++)];
            entry.id = {layer.layer, static_cast<int32_t>(expert)};
            entry.parts = &layer.experts[expert];
            for (size_t p = 0; p < kProjectionCount; p++) {
                const ExpertPart & part = layer.experts[expert][p];
                entry.matrix_bytes[p] = part.present ? part.bytes : 0;
            }
        }
    }
}

int32_t ExpertTable::find(ExpertId id) const {
    if (id.layer < 0 || static_cast<size_t>(id.layer) >= first_entry_.size() || id.expert < 0 ||
        id.expert >= n_experts_[static_cast<size_t>(id.layer)]) {
        return -1;
    }
    return first_entry_[static_cast<size_t>(id.layer)] + id.expert;
}

}  // namespace edgemoe
