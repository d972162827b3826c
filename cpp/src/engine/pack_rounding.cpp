#include "engine/pack_rounding.h"

#include "engine/expert_rounding.h"
#include "engine/memory_plan.h"
#include "engine/model_identity.h"
#include "engine/parallel_work.h"

#include <chrono>
#include <map>
#include <utility>
#include <vector>

namespace edgemoe {

namespace {

// Part of the journal's identity: changes when other bytes would come out for the same key.
constexpr uint64_t kRoundingVersion = 1;

// By position of the layer: experts with something to round, and what (kNoType: nothing).
using MissingMatrices = std::map<size_t, std::vector<std::pair<int32_t, ExpertTypes>>>;

MissingMatrices find_missing(const GgufSource & source, const PackedTypes & types, const RoundingJournal & journal) {
    const std::vector<ExpertLayer> & layers = source.experts().layers();
    MissingMatrices missing;
    for (size_t layer = 0; layer < layers.size(); layer++) {
        for (size_t expert = 0; expert < types[layer].size(); expert++) {
            const ExpertId id{layers[layer].layer, static_cast<int32_t>(expert)};
            ExpertTypes wanted = types[layer][expert];
            bool any = false;
            for (size_t p = 0; p < kProjectionCount; p++) {
                if (!is_rounded(source, id, p, wanted[p])) {
                    wanted[p] = kNoType;
                } else {
                    any = any || !journal.contains({id, static_cast<Projection>(p), wanted[p]});
                }
            }
            if (any) {
                missing[layer].emplace_back(id.expert, wanted);
            }
        }
    }
    return missing;
}

}  // namespace

bool is_rounded(const GgufSource & source, ExpertId id, size_t projection, int32_t type) {
    return type != kNoType && type != source.experts().parts(id)[projection].type;
}

Result<std::unique_ptr<RoundingJournal>> open_rounding_journal(const PackInputs & inputs, const PackOptions & options,
                                                               const std::string & output) {
    const Result<ModelIdentity> identity = ModelIdentity::of(inputs.source());
    if (!identity.is_ok()) {
        return identity.status();
    }
    const Profile & profile = inputs.profile();
    uint64_t hash = kFnvStart;
    const auto add = [&hash](const auto & value) { hash = fnv1a(hash, &value, sizeof(value)); };
    add(kRoundingVersion);
    add(identity.value().header_checksum);
    add(identity.value().file_bytes);
    add(profile.n_ctx);
    add(options.rounding);
    hash = fnv1a(hash, profile.tokens.data(), profile.tokens.size() * sizeof(int32_t));
    return RoundingJournal::open(output + ".rounding", hash);
}

Result<RoundingCost> round_missing(PackInputs & inputs, const PackOptions & options, const PackedTypes & types,
                                   const JobProgress & progress, RoundingJournal * journal) {
    const GgufSource & source = inputs.source();
    const MissingMatrices missing = find_missing(source, types, *journal);
    RoundingCost cost;
    for (const auto & [layer, experts] : missing) {
        cost.n_experts += experts.size();
    }
    if (missing.empty()) {
        return cost;
    }
    const Result<const ActivationSpill *> spill = inputs.activations();
    if (!spill.is_ok()) {
        return spill.status();
    }
    const auto begin = std::chrono::steady_clock::now();
    const int n_threads = thread_count(options.load);
    std::vector<std::unique_ptr<ExpertRounder>> rounders;
    for (int i = 0; i < n_threads; i++) {
        rounders.push_back(std::make_unique<ExpertRounder>(source, inputs.split(), options.rounding));
    }
    ProgressMeter meter(progress, "rounding");
    size_t n_before = 0;
    for (const auto & [position, experts] : missing) {
        const int32_t layer = source.experts().layers()[position].layer;
        const LayerProfile * profile = inputs.profile().find(layer);
        if (profile == nullptr) {
            return Status(StatusCode::kInvalidArgument,
                          inputs.profile_path() + ": has nothing about layer " + std::to_string(layer));
        }
        Result<LayerActivations> activations =
            spill.value()->read_layer(static_cast<size_t>(profile - inputs.profile().layers.data()));
        if (!activations.is_ok()) {
            return activations.status();
        }
        const MomentsPrior prior = MomentsPrior::of(activations.value(), *profile, inputs.split(), n_threads);
        const Status status = run_in_parallel(
            experts.size(), n_threads,
            [&, wanted = &experts](size_t i, int thread) {
                return rounders[static_cast<size_t>(thread)]->round(activations.value(), prior, (*wanted)[i].first,
                                                                    (*wanted)[i].second, journal);
            },
            [&](size_t n_done) {
                return meter.report(static_cast<double>(n_before + n_done) / static_cast<double>(cost.n_experts));
            });
        if (!status.is_ok()) {
            return status;
        }
        n_before += experts.size();
    }
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - begin;
    cost.seconds = elapsed.count();
    cost.expert_seconds = elapsed.count() * n_threads / static_cast<double>(cost.n_experts);
    return cost;
}

}  // namespace edgemoe
