#include "engine/group_damage.h"

namespace edgemoe {

Result<std::unique_ptr<GroupDamage>> GroupDamage::create(const GgufSource & source, const Profile & profile,
                                                         const std::vector<int32_t> & tokens, const LoadOptions & load,
                                                         const std::string & scratch_folder) {
    std::unique_ptr<GroupDamage> damage(new GroupDamage(source, profile));
    Result<std::unique_ptr<PerturbedModel>> model =
        PerturbedModel::load(source.path(), load, tokens, static_cast<uint32_t>(profile.n_ctx), scratch_folder);
    if (!model.is_ok()) {
        return model.status();
    }
    damage->model_ = std::move(model).value();
    return damage;
}

Status GroupDamage::lower(ExpertId id, Projection projection, int32_t type) {
    return model_->quantize(id.layer, id.expert, projection, type, profile_.importance(id, projection));
}

Result<double> GroupDamage::measure(const JobProgress & progress) {
    Result<Evaluation> evaluation = model_->measure(progress);
    model_->clear();
    if (!evaluation.is_ok()) {
        return evaluation.status();
    }
    n_scored_ = static_cast<int64_t>(evaluation.value().tokens);
    return evaluation.value().kl_divergence;
}

Result<double> GroupDamage::of_projection(int32_t layer, Projection projection, int32_t type,
                                          const JobProgress & progress) {
    const LayerProfile * found = profile_.find(layer);
    for (int32_t expert = 0; found != nullptr && expert < found->routing.n_experts; expert++) {
        Status status = lower({layer, expert}, projection, type);
        if (!status.is_ok()) {
            return status;
        }
    }
    return measure(progress);
}

Result<double> GroupDamage::of_expert(ExpertId id, int32_t type, const JobProgress & progress) {
    const ExpertParts & parts = source_.experts().parts(id);
    for (size_t p = 0; p < kProjectionCount; p++) {
        if (parts[p].present) {
            Status status = lower(id, static_cast<Projection>(p), type);
            if (!status.is_ok()) {
                return status;
            }
        }
    }
    return measure(progress);
}

}  // namespace edgemoe
