// From the change to the divergence, with a real model: against a file in which the same bytes were changed.
#include "engine/perturbed_model.h"

#include "engine/gguf_source.h"

#include "ggml.h"

#include <doctest/doctest.h>

#include "temporary_file.h"

#include <cstdio>
#include <filesystem>
#include <fstream>

namespace edgemoe {
namespace {

constexpr uint32_t kWindow = 64;
constexpr int32_t kLayer = 3;

std::vector<int32_t> some_tokens() {
    std::vector<int32_t> tokens;
    for (int32_t i = 0; i < static_cast<int32_t>(3 * kWindow); i++) {
        tokens.push_back(2 + i * i % 4000);
    }
    return tokens;
}

LoadOptions small_cache() {
    LoadOptions options;
    options.n_threads = 2;
    options.expert_cache_bytes = uint64_t{6} << 20;
    return options;
}

std::unique_ptr<PerturbedModel> load(const test::TemporaryDirectory & scratch) {
    Result<std::unique_ptr<PerturbedModel>> model =
        PerturbedModel::load(EDGEMOE_TEST_MODEL, small_cache(), some_tokens(), kWindow, scratch.path());
    REQUIRE_MESSAGE(model.is_ok(), model.status().message());
    return std::move(model).value();
}

Evaluation measure(PerturbedModel & model) {
    const Result<Evaluation> measured = model.measure({});
    REQUIRE_MESSAGE(measured.is_ok(), measured.status().message());
    return measured.value();
}

// The model's file with the up matrices of these experts of kLayer zeroed.
class DamagedCopy {
public:
    DamagedCopy(const test::TemporaryDirectory & folder, const std::vector<int32_t> & experts)
        : path_(folder.path() + "/zeroed.gguf") {
        std::filesystem::copy_file(EDGEMOE_TEST_MODEL, path_);
        std::filesystem::permissions(path_, std::filesystem::perms::owner_write, std::filesystem::perm_options::add);
        const Result<std::unique_ptr<GgufSource>> source = GgufSource::open(EDGEMOE_TEST_MODEL, false);
        REQUIRE(source.is_ok());
        std::fstream file(path_, std::ios::binary | std::ios::in | std::ios::out);
        for (const int32_t expert : experts) {
            const ExpertPart & part =
                source.value()->experts().parts({kLayer, expert})[static_cast<size_t>(Projection::kUp)];
            file.seekp(static_cast<std::streamoff>(part.offset));
            const std::vector<char> zeros(part.bytes, 0);
            file.write(zeros.data(), static_cast<std::streamsize>(zeros.size()));
        }
        file.close();
        REQUIRE(file.good());
    }
    ~DamagedCopy() { std::remove(path_.c_str()); }
    DamagedCopy(const DamagedCopy &) = delete;
    DamagedCopy & operator=(const DamagedCopy &) = delete;

    const std::string & path() const { return path_; }

private:
    std::string path_;
};

}  // namespace

TEST_CASE("ReplacedMatricesMeasureAsTheFileThatHasThem") {
    const test::TemporaryDirectory folder;
    const std::vector<int32_t> experts = {0, 5, 11, 12, 13, 30};
    const DamagedCopy copy(folder, experts);
    EvaluateOptions options;
    options.load = small_cache();
    options.n_ctx = kWindow;
    const Result<Evaluation> expected = evaluate_tokens(copy.path(), EDGEMOE_TEST_MODEL, some_tokens(), options, {});
    REQUIRE_MESSAGE(expected.is_ok(), expected.status().message());
    REQUIRE(expected.value().kl_divergence > 1e-3);

    const std::unique_ptr<PerturbedModel> model = load(folder);
    const std::vector<float> zeros(256 * 256, 0.0F);
    for (const int32_t expert : experts) {
        REQUIRE(model
                    ->replace({kLayer, expert}, Projection::kUp, GGML_TYPE_F32,
                              reinterpret_cast<const std::byte *>(zeros.data()), zeros.size() * sizeof(float))
                    .is_ok());
    }
    const Evaluation measured = measure(*model);
    CHECK(measured.kl_divergence == doctest::Approx(expected.value().kl_divergence).epsilon(1e-6));
    CHECK(measured.perplexity == doctest::Approx(expected.value().perplexity).epsilon(1e-6));
    CHECK(measured.argmax_agreement == expected.value().argmax_agreement);
    CHECK(measured.tokens == expected.value().tokens);
}

TEST_CASE("WhatIsClearedIsTheFilesAgain") {
    const test::TemporaryDirectory folder;
    const std::unique_ptr<PerturbedModel> model = load(folder);
    CHECK(measure(*model).kl_divergence == doctest::Approx(0).epsilon(1e-9));
    REQUIRE(model->quantize(kLayer, -1, Projection::kUp, GGML_TYPE_Q2_K).is_ok());
    const double coarse = measure(*model).kl_divergence;
    CHECK(coarse > 1e-4);
    CHECK(measure(*model).kl_divergence == coarse);  // and nothing is left over from the first time
    model->clear();
    CHECK(measure(*model).kl_divergence == doctest::Approx(0).epsilon(1e-9));
}

TEST_CASE("MoreExpertsAndCoarserTypesDivergeMore") {
    const test::TemporaryDirectory folder;
    const std::unique_ptr<PerturbedModel> model = load(folder);
    const auto divergence = [&](int32_t expert, int32_t type) {
        model->clear();
        REQUIRE(model->quantize(kLayer, expert, Projection::kDown, type).is_ok());
        return measure(*model).kl_divergence;
    };
    const double one = divergence(7, GGML_TYPE_Q2_K);
    const double all = divergence(-1, GGML_TYPE_Q2_K);
    CHECK(one > 0);
    CHECK(all > 2 * one);
    CHECK(divergence(-1, GGML_TYPE_Q8_0) < all / 2);
}

TEST_CASE("AStoppedMeasurementIsMadeAgain") {
    const test::TemporaryDirectory folder;
    const std::unique_ptr<PerturbedModel> model = load(folder);
    REQUIRE(model->quantize(kLayer, -1, Projection::kGate, GGML_TYPE_Q2_K).is_ok());
    const Result<Evaluation> stopped = model->measure([](const char *, double, double) { return false; });
    REQUIRE_FALSE(stopped.is_ok());
    CHECK(stopped.status().code() == StatusCode::kCancelled);
    CHECK(measure(*model).kl_divergence > 1e-5);
}

TEST_CASE("MatricesAndTextsThatAreNotThereAreRefused") {
    const test::TemporaryDirectory folder;
    const std::unique_ptr<PerturbedModel> model = load(folder);
    CHECK(model->quantize(kLayer, 99, Projection::kUp, GGML_TYPE_Q2_K).code() == StatusCode::kNotFound);
    CHECK(model->quantize(99, -1, Projection::kUp, GGML_TYPE_Q2_K).code() == StatusCode::kNotFound);
    const Result<std::unique_ptr<PerturbedModel>> none =
        PerturbedModel::load(EDGEMOE_TEST_MODEL, small_cache(), {1, 2, 3}, kWindow, folder.path());
    REQUIRE_FALSE(none.is_ok());
    CHECK(none.status().code() == StatusCode::kInvalidArgument);
}

}  // namespace edgemoe
