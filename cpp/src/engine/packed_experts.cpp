#include "engine/packed_experts.h"

#include "engine/packed_format.h"

namespace edgemoe {

Status PackedExperts::add(ExpertId id, Projection projection, const ExpertPart & part) {
    const auto wrong = [&](const std::string & reason) {
        return Status(StatusCode::kFormat, "tensor " + packed_tensor_name(id, projection) + " " + reason);
    };
    if (id.expert >= n_experts_) {
        return wrong("is of an expert that the model has not: it has " + std::to_string(n_experts_) + " a layer");
    }
    Stack & stack = stacks_[{id.layer, projection}];
    stack.resize(static_cast<size_t>(n_experts_));
    for (const ExpertPart & other : stack) {
        if (other.present && (other.rows != part.rows || other.columns != part.columns)) {
            return wrong("has another shape than the layer's other experts");
        }
        if (other.present) {
            break;
        }
    }
    ExpertPart & place = stack[static_cast<size_t>(id.expert)];
    if (place.present) {
        return wrong("is there twice");
    }
    place = part;
    place.present = true;
    return Status::ok();
}

Status PackedExperts::check_whole() const {
    for (const auto & [key, stack] : stacks_) {
        for (size_t expert = 0; expert < stack.size(); expert++) {
            if (!stack[expert].present) {
                const ExpertId id = {key.first, static_cast<int32_t>(expert)};
                return Status(StatusCode::kFormat, "tensor " + packed_tensor_name(id, key.second) +
                                                       " is missing; get the file again, or pack the model again");
            }
        }
    }
    return Status::ok();
}

int32_t PackedExperts::nominal_type(const Stack & stack) {
    std::map<int32_t, size_t> counts;
    for (const ExpertPart & part : stack) {
        counts[part.type]++;
    }
    auto most = counts.begin();
    for (auto count = counts.begin(); count != counts.end(); ++count) {
        most = count->second > most->second ? count : most;
    }
    return most->first;
}

}  // namespace edgemoe
