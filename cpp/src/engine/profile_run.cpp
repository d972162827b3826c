#include "engine/profile_run.h"

#include "engine/activation_capture.h"
#include "engine/calibration_split.h"
#include "engine/expert_inputs.h"
#include "engine/map_training.h"
#include "engine/model.h"
#include "engine/parallel_work.h"
#include "engine/sensitivity.h"
#include "engine/window_evaluator.h"

#include <algorithm>
#include <functional>

namespace edgemoe {

namespace {

Result<SpillShape> spill_shape(const GgufSource & source, const std::vector<int32_t> & tokens, uint32_t n_ctx) {
    const Result<ModelIdentity> identity = ModelIdentity::of(source);
    if (!identity.is_ok()) {
        return identity.status();
    }
    SpillShape shape;
    shape.fingerprint = fnv1a(identity.value().header_checksum, &identity.value().file_bytes, sizeof(uint64_t));
    shape.fingerprint = fnv1a(shape.fingerprint, &n_ctx, sizeof(n_ctx));
    shape.n_tokens = static_cast<int64_t>(tokens.size() - tokens.size() % n_ctx);
    shape.fingerprint = fnv1a(shape.fingerprint, tokens.data(), static_cast<size_t>(shape.n_tokens) * sizeof(int32_t));
    for (const ExpertLayer & layer : source.experts().layers()) {
        SpillLayer part;
        part.layer = layer.layer;
        part.n_experts = static_cast<int32_t>(layer.experts.size());
        part.n_used = std::min(part.n_experts, source.experts().n_experts_used());
        part.columns = input_columns(layer);
        shape.layers.push_back(part);
    }
    return shape;
}

Status no_experts(const std::string & model) {
    return Status(StatusCode::kUnsupported, model + ": has no routed experts: there is nothing to profile");
}

Status capture(Model & model, const std::vector<int32_t> & tokens, int32_t n_ctx, ActivationSpill & spill,
               const JobProgress & progress) {
    ActivationCapture capture(spill, model.source().architecture());
    Result<std::unique_ptr<WindowEvaluator>> created =
        WindowEvaluator::create(model, ActivationCapture::observe, &capture);
    if (!created.is_ok()) {
        return created.status();
    }
    WindowEvaluator & evaluator = *created.value();
    const auto n_tokens = static_cast<double>(spill.shape().n_tokens);
    const auto n_done = spill.n_written() - spill.n_written() % n_ctx;
    ProgressMeter meter(progress, "evaluating", static_cast<double>(n_done) / n_tokens);
    evaluator.set_poll([&meter] { return meter.poll(); });
    for (int64_t window = n_done; window < spill.shape().n_tokens; window += n_ctx) {
        evaluator.begin_window();
        for (int32_t begin = 0; begin < n_ctx; begin += evaluator.batch_size()) {
            const int32_t n = std::min(evaluator.batch_size(), n_ctx - begin);
            capture.begin_batch(window + begin, n);
            // All logits are asked for, though none is used: llama.cpp computes the last layer only for such tokens.
            Status status = evaluator.append(tokens.data() + window + begin, n, 0);
            const Status captured = capture.end_batch();
            status = captured.is_ok() ? status : captured;
            if (!status.is_ok()) {
                return status;
            }
        }
        const Status status = spill.advance(window + n_ctx);
        if (!status.is_ok()) {
            return status;
        }
        if (!meter.report(static_cast<double>(window + n_ctx) / n_tokens) && !spill.complete()) {
            return Status(StatusCode::kCancelled, "cancelled");
        }
    }
    return Status::ok();
}

void add_squares(const ExpertInputs & piece, double * sums, double * total_weight) {
    const auto columns = static_cast<size_t>(piece.columns);
    for (size_t i = 0; i < piece.weights.size(); i++) {
        const float * row = piece.inputs.data() + i * columns;
        const auto weight = static_cast<double>(piece.weights[i]);
        if (total_weight != nullptr) {
            *total_weight += weight;
        }
        for (size_t c = 0; c < columns; c++) {
            const auto value = static_cast<double>(row[c]);
            sums[c] += weight * value * value;
        }
    }
}

// A reader for each thread, which computes on that thread alone: experts are many, and each is little work.
using InputReaders = std::vector<std::unique_ptr<ExpertInputReader>>;

// The moments of one projection's inputs, for all experts of a layer, several at once. `total_weight`: [n_experts], or
// nullptr. `report` is given the number of experts that are done.
Status sum_moments(const InputReaders & readers, const LayerActivations & activations, Projection projection,
                   int64_t columns, DiagonalMoments * moments, double * total_weight,
                   const std::function<bool(size_t)> & report) {
    const auto n_experts = static_cast<size_t>(activations.shape.n_experts);
    moments->columns = columns;
    moments->sums.assign(n_experts * static_cast<size_t>(columns), 0.0F);
    return run_in_parallel(
        n_experts, static_cast<int>(readers.size()),
        [&](size_t expert, int thread) {
            std::vector<double> sums(static_cast<size_t>(columns), 0.0);
            const Status status = readers[static_cast<size_t>(thread)]->read_pieces(
                activations, static_cast<int32_t>(expert), projection, 0, {}, [&](const ExpertInputs & piece) {
                    add_squares(piece, sums.data(), total_weight != nullptr ? total_weight + expert : nullptr);
                    return Status::ok();
                });
            std::transform(sums.begin(), sums.end(), moments->sums.begin() + static_cast<int64_t>(expert) * columns,
                           [](double sum) { return static_cast<float>(sum); });
            return status;
        },
        report);
}

Result<LayerProfile> profile_layer(const GgufSource & source, const LayerActivations & activations,
                                   const InputReaders & readers, const std::function<bool(double)> & report) {
    const SpillLayer & shape = activations.shape;
    LayerProfile layer;
    layer.routing = {shape.layer, shape.n_experts, shape.n_used, activations.ids, activations.weights};
    layer.evaluated = activations.facts.seen;
    layer.weights_before_experts = activations.facts.weights_before_experts;
    layer.chain = activations.facts.chain;
    layer.counts = layer.routing.counts();
    layer.mass = layer.routing.mass();
    layer.total_weight.assign(static_cast<size_t>(shape.n_experts), 0.0);
    // Gate and up read, down computes: nearly all of the time.
    constexpr double kInputShare = 0.1;
    const auto share = [&](size_t n_done) { return static_cast<double>(n_done) / shape.n_experts; };
    Status status =
        sum_moments(readers, activations, Projection::kUp, shape.columns, &layer.input, layer.total_weight.data(),
                    [&](size_t n_done) { return report(kInputShare * share(n_done)); });
    const ExpertPart & down = source.experts().parts({shape.layer, 0})[static_cast<size_t>(Projection::kDown)];
    if (status.is_ok() && layer.chain.known()) {
        if (layer.chain.steps.back().width != down.columns) {
            return Status(StatusCode::kFormat, source.path() + ": the activations of blk." +
                                                   std::to_string(shape.layer) + " belong to another model");
        }
        status = sum_moments(readers, activations, Projection::kDown, down.columns, &layer.down, nullptr,
                             [&](size_t n_done) { return report(kInputShare + (1 - kInputShare) * share(n_done)); });
    }
    return status.is_ok() ? Result<LayerProfile>(std::move(layer)) : Result<LayerProfile>(status);
}

Status profile_layers(const GgufSource & source, const ActivationSpill & spill, int n_threads,
                      const JobProgress & progress, Profile * profile) {
    InputReaders readers;
    for (int i = 0; i < n_threads; i++) {
        readers.push_back(std::make_unique<ExpertInputReader>(source, 1));
    }
    ProgressMeter meter(progress, "moments of the experts' inputs");
    const size_t n_layers = spill.shape().layers.size();
    for (size_t i = 0; i < n_layers; i++) {
        const Result<LayerActivations> activations = spill.read_layer(i);
        if (!activations.is_ok()) {
            return activations.status();
        }
        Result<LayerProfile> layer = profile_layer(source, activations.value(), readers, [&](double share) {
            return meter.report((static_cast<double>(i) + share) / static_cast<double>(n_layers));
        });
        if (!layer.is_ok()) {
            return layer.status();
        }
        profile->layers.push_back(std::move(layer).value());
    }
    return Status::ok();
}

// A text of one window leaves nothing to judge by, and the profile without sensitivities.
Status add_sensitivity(const GgufSource & source, const ActivationSpill & spill, const ProfileOptions & options,
                       const JobProgress & progress, Profile * profile) {
    const Result<CalibrationSplit> split =
        CalibrationSplit::of(static_cast<int64_t>(profile->tokens.size()), profile->n_ctx);
    if (!split.is_ok()) {
        return Status::ok();
    }
    SensitivityOptions sensitivity;
    sensitivity.types = default_ladder();
    sensitivity.load = options.load;
    Result<SensitivityTable> table =
        estimate_sensitivity(source, *profile, split.value(), spill, sensitivity, progress);
    if (table.is_ok()) {
        profile->sensitivity.emplace(std::move(table).value());
    }
    return table.status();
}

// The model goes when the pass is over: what follows needs its memory.
Result<std::unique_ptr<Model>> load_for_capture(const std::string & path, LoadOptions load, uint32_t n_ctx,
                                                const JobProgress & progress) {
    ProgressMeter meter(progress, "loading");
    load = window_options(std::move(load), n_ctx, n_ctx);
    load.progress = [&meter](float fraction) { return meter.report(fraction); };
    Result<std::unique_ptr<Model>> model = Model::load(path, load);
    if (model.is_ok() && model.value()->source().experts().empty()) {
        return no_experts(path);
    }
    return model;
}

}  // namespace

Result<std::unique_ptr<ActivationSpill>> capture_activations(const std::string & model,
                                                             const std::vector<int32_t> & tokens, uint32_t n_ctx,
                                                             const std::string & path, const LoadOptions & load,
                                                             const JobProgress & progress) {
    if (n_ctx == 0 || tokens.size() < n_ctx) {
        return Status(StatusCode::kInvalidArgument,
                      std::to_string(tokens.size()) + " tokens are less than a window of " + std::to_string(n_ctx));
    }
    const Result<std::unique_ptr<GgufSource>> source = GgufSource::open(model, false);
    if (!source.is_ok()) {
        return source.status();
    }
    const Result<SpillShape> shape = spill_shape(*source.value(), tokens, n_ctx);
    if (!shape.is_ok()) {
        return shape.status();
    }
    if (shape.value().layers.empty()) {
        return no_experts(model);
    }
    Result<std::unique_ptr<ActivationSpill>> spill = ActivationSpill::open(path, shape.value());
    if (!spill.is_ok() || spill.value()->complete()) {
        return spill;
    }
    Result<std::unique_ptr<Model>> loaded = load_for_capture(model, load, n_ctx, progress);
    const Status status = loaded.is_ok()
                              ? capture(*loaded.value(), tokens, static_cast<int32_t>(n_ctx), *spill.value(), progress)
                              : loaded.status();
    if (!status.is_ok() && spill.value()->n_written() == 0) {
        ActivationSpill::remove(path);  // nothing to go on from
    }
    return status.is_ok() ? std::move(spill) : Result<std::unique_ptr<ActivationSpill>>(status);
}

Result<CapturedText> capture_text(const std::string & model, const std::string & text, uint32_t n_ctx,
                                  uint64_t n_tokens, const std::string & path, const LoadOptions & load,
                                  const JobProgress & progress) {
    if (n_ctx < 4) {
        return Status(StatusCode::kInvalidArgument,
                      "a window of " + std::to_string(n_ctx) + " tokens is too small; give at least 4");
    }
    Result<std::unique_ptr<Model>> loaded = load_for_capture(model, load, n_ctx, progress);
    if (!loaded.is_ok()) {
        return loaded.status();
    }
    Result<std::vector<int32_t>> tokens = window_tokens(*loaded.value(), text, n_ctx, n_tokens);
    if (!tokens.is_ok()) {
        return tokens.status();
    }
    CapturedText captured;
    captured.tokens = std::move(tokens).value();
    captured.tokens.resize(captured.tokens.size() - captured.tokens.size() % n_ctx);
    const Result<SpillShape> shape = spill_shape(loaded.value()->source(), captured.tokens, n_ctx);
    if (!shape.is_ok()) {
        return shape.status();
    }
    Result<std::unique_ptr<ActivationSpill>> opened = ActivationSpill::open(path, shape.value());
    if (!opened.is_ok()) {
        return opened.status();
    }
    captured.spill = std::move(opened).value();
    const Status status = captured.spill->complete() ? Status::ok()
                                                     : capture(*loaded.value(), captured.tokens,
                                                               static_cast<int32_t>(n_ctx), *captured.spill, progress);
    if (!status.is_ok()) {
        if (captured.spill->n_written() == 0) {
            ActivationSpill::remove(path);
        }
        return status;
    }
    return captured;
}

Result<Profile> run_profile(const std::string & model, const std::string & text, const std::string & path,
                            const ProfileOptions & options, const JobProgress & progress) {
    const std::string spill_path = options.spill_path.empty() ? path + ".activations" : options.spill_path;
    Result<CapturedText> captured =
        capture_text(model, text, options.n_ctx, options.n_tokens, spill_path, options.load, progress);
    if (!captured.is_ok()) {
        return captured.status();
    }
    const std::unique_ptr<ActivationSpill> spill = std::move(captured.value().spill);
    Profile profile;
    profile.n_ctx = static_cast<int32_t>(options.n_ctx);
    profile.tokens = std::move(captured.value().tokens);
    const Result<std::unique_ptr<GgufSource>> source = GgufSource::open(model, false);
    if (!source.is_ok()) {
        return source.status();
    }
    Result<ModelIdentity> identity = ModelIdentity::of(*source.value());
    if (!identity.is_ok()) {
        return identity.status();
    }
    profile.model = std::move(identity).value();
    Status status = profile_layers(*source.value(), *spill, thread_count(options.load), progress, &profile);
    if (status.is_ok() && options.sensitivity) {
        status = add_sensitivity(*source.value(), *spill, options, progress, &profile);
    }
    if (status.is_ok() && options.maps) {
        Result<ExpertMaps> maps =
            train_maps(*source.value(), *spill, profile.n_ctx, thread_count(options.load), progress);
        status = maps.status();
        if (status.is_ok()) {
            profile.maps = std::move(maps).value();
        }
    }
    if (status.is_ok()) {
        status = profile.save(path);
    }
    if (!status.is_ok()) {
        return status;
    }
    if (!options.keep_spill) {
        ActivationSpill::remove(spill_path);
    }
    return profile;
}

}  // namespace edgemoe
