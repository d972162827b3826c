// A packed file of random blocks, of a different type for almost every matrix, from a small stock file.
#include "engine/packed_writer.h"

#include "engine/pack_unchanged.h"
#include "engine/packed_format.h"

#include "ggml.h"

#include <doctest/doctest.h>

#include <stdlib.h>
#include <sys/stat.h>

#include <array>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <memory>
#include <random>
#include <string>
#include <vector>

namespace edgemoe {
namespace {

constexpr int32_t kExperts = 5;
constexpr int64_t kWidth = 256;
constexpr int64_t kHidden = 512;
constexpr std::array kFileTypes = {GGML_TYPE_Q4_0, GGML_TYPE_Q2_K, GGML_TYPE_IQ3_S, GGML_TYPE_Q8_0, GGML_TYPE_F16};

std::vector<std::byte> random_bytes(std::mt19937 * random, size_t n) {
    std::vector<std::byte> bytes(n);
    for (std::byte & byte : bytes) {
        byte = static_cast<std::byte>((*random)());
    }
    return bytes;
}

bool exists(const std::string & path) {
    struct stat info = {};
    return ::stat(path.c_str(), &info) == 0;
}

std::vector<char> content(const std::string & path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

void overwrite(const std::string & path, uint64_t offset, const std::vector<std::byte> & bytes) {
    std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
    file.seekp(static_cast<std::streamoff>(offset));
    file.write(reinterpret_cast<const char *>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
}

// A folder with a stock file of two layers, of which blocks 0 and 2 have experts, and what a test makes beside it.
class Folder {
public:
    Folder() {
        const char * parent = std::getenv("TMPDIR");
        path_ = std::string(parent != nullptr ? parent : "/tmp") + "/edgemoe-packed-XXXXXX";
        REQUIRE(::mkdtemp(path_.data()) != nullptr);
        write_stock();
    }
    ~Folder() {
        for (const std::string & name : {stock(), packed(), packed() + ".part", path_ + "/second.gguf"}) {
            std::remove(name.c_str());
        }
        std::remove(path_.c_str());
    }
    Folder(const Folder &) = delete;
    Folder & operator=(const Folder &) = delete;

    const std::string & path() const { return path_; }
    std::string stock() const { return path_ + "/stock.gguf"; }
    std::string packed() const { return path_ + "/packed.gguf"; }

    std::unique_ptr<GgufSource> open(const std::string & path) const {
        Result<std::unique_ptr<GgufSource>> source = GgufSource::open(path, false);
        REQUIRE_MESSAGE(source.is_ok(), source.status().message());
        return std::move(source).value();
    }

private:
    void write_stock() const {
        const Gguf gguf(gguf_init_empty());
        gguf_set_val_str(gguf.get(), "general.architecture", "qwen3moe");
        gguf_set_val_u32(gguf.get(), "qwen3moe.block_count", 3);
        gguf_set_val_u32(gguf.get(), "qwen3moe.expert_count", kExperts);
        gguf_set_val_u32(gguf.get(), "qwen3moe.expert_used_count", 2);
        ggml_context * context = ggml_init({size_t{16} << 20, nullptr, false});
        std::mt19937 random(3);
        const auto add = [&](const std::string & name, ggml_type type, std::vector<int64_t> dims) {
            ggml_tensor * tensor = ggml_new_tensor(context, type, static_cast<int>(dims.size()), dims.data());
            ggml_set_name(tensor, name.c_str());
            const std::vector<std::byte> bytes = random_bytes(&random, ggml_nbytes(tensor));
            std::memcpy(tensor->data, bytes.data(), bytes.size());
            gguf_add_tensor(gguf.get(), tensor);
        };
        add("token_embd.weight", GGML_TYPE_F32, {kWidth, 11});
        for (const int layer : {0, 2}) {
            const std::string prefix = "blk." + std::to_string(layer) + ".ffn_";
            add(prefix + "norm.weight", GGML_TYPE_F32, {kWidth});
            add(prefix + "gate_exps.weight", GGML_TYPE_Q4_0, {kWidth, kHidden, kExperts});
            add(prefix + "up_exps.weight", GGML_TYPE_Q4_0, {kWidth, kHidden, kExperts});
            add(prefix + "down_exps.weight", GGML_TYPE_Q8_0, {kHidden, kWidth, kExperts});
            add(prefix + "down_exps.bias", GGML_TYPE_F32, {kWidth, kExperts});
        }
        REQUIRE(gguf_write_to_file(gguf.get(), stock().c_str(), false));
        ggml_free(context);
    }

    std::string path_;
};

// Matrices of mixed types for every expert of `source`.
struct Mixture {
    explicit Mixture(const GgufSource & source) : types(stored_types(source.experts())) {
        std::mt19937 random(7);
        size_t next = 0;
        for (size_t i = 0; i < types.size(); ++i) {
            const ExpertLayer & layer = source.experts().layers()[i];
            for (size_t e = 0; e < types[i].size(); ++e) {
                ids.push_back({layer.layer, static_cast<int32_t>(e)});
                ExpertBytes & matrices = bytes.emplace_back();
                for (size_t p = 0; p < kProjectionCount; ++p) {
                    if (types[i][e][p] == kNoType) {
                        continue;
                    }
                    types[i][e][p] = kFileTypes[next++ % kFileTypes.size()];
                    const ExpertPart & part = layer.experts[e][p];
                    matrices[p] =
                        random_bytes(&random, ggml_row_size(static_cast<ggml_type>(types[i][e][p]), part.columns) *
                                                  static_cast<size_t>(part.rows));
                }
            }
        }
    }

    PackedTypes types;
    std::vector<ExpertId> ids;
    std::vector<ExpertBytes> bytes;
};

std::unique_ptr<PackedWriter> create(const GgufSource & source, const std::string & path, const PackedTypes & types) {
    Result<std::unique_ptr<PackedWriter>> writer =
        PackedWriter::create(source, path, types, {{"edgemoe.packed.objective", std::string("size")}});
    REQUIRE_MESSAGE(writer.is_ok(), writer.status().message());
    return std::move(writer).value();
}

void write_all(PackedWriter * writer, const Mixture & mixture, bool backwards) {
    REQUIRE(writer->write_hot().is_ok());
    for (size_t i = 0; i < mixture.ids.size(); ++i) {
        const size_t at = backwards ? mixture.ids.size() - 1 - i : i;
        REQUIRE(writer->write_expert(mixture.ids[at], mixture.bytes[at]).is_ok());
    }
}

double number(const GgufSource & source, const char * key) {
    return gguf_get_val_f64(source.metadata(), gguf_find_key(source.metadata(), key));
}

}  // namespace

TEST_CASE("APackedFileIsReadBackWithItsTypesBytesAndValues") {
    const Folder folder;
    const auto stock = folder.open(folder.stock());
    const Mixture mixture(*stock);
    auto writer = create(*stock, folder.packed(), mixture.types);
    write_all(writer.get(), mixture, false);
    CHECK_FALSE(exists(folder.packed()));
    PackedResults results;
    results.kl_divergence = 0.0125;
    results.tokens = 1000;
    writer->set_results(results);
    CHECK(writer->finish().is_ok());

    const auto packed = folder.open(folder.packed());
    CHECK(packed->packed());
    CHECK_FALSE(stock->packed());
    const Result<uint64_t> bytes = packed_file_bytes(*stock, mixture.types, {{"edgemoe.packed.objective", "size"}});
    CHECK(packed->file_bytes() == bytes.value());
    CHECK(stored_types(packed->experts()) == mixture.types);
    CHECK(packed->hot_bytes() == stock->hot_bytes());
    CHECK(packed->text("edgemoe.packed.objective") == "size");
    CHECK(packed->integer("edgemoe.packed.tokens", 0) == 1000);
    CHECK(number(*packed, "edgemoe.packed.kl_divergence") == 0.0125);
    CHECK(packed->tensors().size() == stock->tensors().size());
    for (size_t i = 0; i < mixture.ids.size(); ++i) {
        ExpertBytes read;
        REQUIRE(read_expert(*packed, mixture.ids[i], &read).is_ok());
        CHECK(read == mixture.bytes[i]);
        const ExpertParts & parts = packed->experts().parts(mixture.ids[i]);
        uint64_t end = parts[0].offset;
        for (const ExpertPart & part : parts) {
            if (part.present) {
                CHECK(part.offset % kPackedAlignment == 0);
                CHECK(part.offset - end < kPackedAlignment);  // next to each other
                end = part.offset + part.bytes;
            }
        }
    }
    for (size_t i = 0; i < stock->tensors().size(); ++i) {
        const GgufSource::Tensor & before = stock->tensors()[i];
        for (const GgufSource::Tensor & after : packed->tensors()) {
            if (before.expert || after.name != before.name) {
                continue;
            }
            std::vector<std::byte> expected(before.bytes);
            std::vector<std::byte> found(after.bytes);
            REQUIRE(stock->files()[0]->read(before.offset, expected.size(), expected.data()).is_ok());
            REQUIRE(packed->files()[0]->read(after.offset, found.size(), found.data()).is_ok());
            CHECK(found == expected);
        }
    }
}

TEST_CASE("TheOrderInWhichExpertsComeDoesNotMatter") {
    const Folder folder;
    const auto stock = folder.open(folder.stock());
    const Mixture mixture(*stock);
    for (const bool backwards : {false, true}) {
        auto writer = create(*stock, backwards ? folder.packed() : folder.path() + "/second.gguf", mixture.types);
        write_all(writer.get(), mixture, backwards);
        CHECK(writer->finish().is_ok());
    }
    CHECK(content(folder.packed()) == content(folder.path() + "/second.gguf"));
}

TEST_CASE("ASealedFileCanBeReadBeforeItHasItsName") {
    const Folder folder;
    const auto stock = folder.open(folder.stock());
    const Mixture mixture(*stock);
    auto writer = create(*stock, folder.packed(), mixture.types);
    write_all(writer.get(), mixture, false);
    REQUIRE(writer->seal().is_ok());
    CHECK(stored_types(folder.open(writer->temporary_path())->experts()) == mixture.types);
    PackedResults results;
    results.perplexity = 7.5;
    writer->set_results(results);
    CHECK(writer->finish().is_ok());
    CHECK(number(*folder.open(folder.packed()), "edgemoe.packed.perplexity") == 7.5);
}

TEST_CASE("AFileThatIsNotWholeIsNotFinishedAndLeavesNothing") {
    const Folder folder;
    const auto stock = folder.open(folder.stock());
    const Mixture mixture(*stock);
    {
        auto writer = create(*stock, folder.packed(), mixture.types);
        for (size_t i = 1; i < mixture.ids.size(); ++i) {
            REQUIRE(writer->write_expert(mixture.ids[i], mixture.bytes[i]).is_ok());
        }
        const Status status = writer->finish();
        CHECK(status.code() == StatusCode::kInternal);
        CHECK(status.message().find("3 matrices are missing, and the hot tensors") != std::string::npos);
        ExpertBytes wrong = mixture.bytes[0];
        wrong[0].pop_back();
        CHECK(writer->write_expert(mixture.ids[0], wrong).message().find("blk.0.ffn_gate_exps.0.weight") !=
              std::string::npos);
        CHECK_FALSE(writer->write_expert({1, 0}, mixture.bytes[0]).is_ok());
        CHECK_FALSE(writer->write_expert({0, kExperts}, mixture.bytes[0]).is_ok());
    }
    CHECK_FALSE(exists(folder.packed()));
    CHECK_FALSE(exists(folder.packed() + ".part"));
}

TEST_CASE("TypesThatDoNotFitAndTheSourceItselfAreRefused") {
    const Folder folder;
    const auto stock = folder.open(folder.stock());
    const PackedTypes types = stored_types(stock->experts());
    const auto refused = [&](const PackedTypes & wrong, const std::string & path) {
        const Result<std::unique_ptr<PackedWriter>> writer = PackedWriter::create(*stock, path, wrong, {});
        REQUIRE_FALSE(writer.is_ok());
        CHECK(writer.status().code() == StatusCode::kInvalidArgument);
        return writer.status().message();
    };
    PackedTypes wrong = types;
    wrong[1][4][0] = kNoType;
    CHECK(refused(wrong, folder.packed()).find("blk.2.ffn_gate_exps.4.weight") != std::string::npos);
    wrong = types;
    wrong[0][0][static_cast<size_t>(Projection::kGateUp)] = GGML_TYPE_F16;
    refused(wrong, folder.packed());
    wrong = types;
    wrong.pop_back();
    refused(wrong, folder.packed());
    wrong = types;
    wrong[0].pop_back();
    refused(wrong, folder.packed());
    CHECK(refused(types, folder.path() + "/./stock.gguf").find("another name") != std::string::npos);
    CHECK_FALSE(exists(folder.packed() + ".part"));
}

TEST_CASE("ADamagedOrSwappedMatrixIsNamed") {
    const Folder folder;
    REQUIRE(pack_unchanged(folder.stock(), folder.packed(), {}).is_ok());
    const auto packed = folder.open(folder.packed());
    const auto gate = static_cast<size_t>(Projection::kGate);
    const ExpertPart one = packed->experts().parts({2, 1})[gate];
    const ExpertPart other = packed->experts().parts({2, 3})[gate];
    std::vector<std::byte> first;
    std::vector<std::byte> second;
    REQUIRE(read_matrix(*packed, {2, 1}, Projection::kGate, &first).is_ok());
    REQUIRE(read_matrix(*packed, {2, 3}, Projection::kGate, &second).is_ok());
    overwrite(folder.packed(), one.offset, second);
    overwrite(folder.packed(), other.offset, first);
    for (const int32_t expert : {1, 3}) {
        const Status status = read_matrix(*packed, {2, expert}, Projection::kGate, &first);
        CHECK(status.code() == StatusCode::kFormat);
        CHECK(status.message().find("(blk.2 expert " + std::to_string(expert) + " gate)") != std::string::npos);
    }
    CHECK(read_matrix(*packed, {2, 2}, Projection::kGate, &first).is_ok());
    // What is packed again from a damaged file is not given good checksums.
    CHECK(pack_unchanged(folder.packed(), folder.path() + "/second.gguf", {}).code() == StatusCode::kFormat);
    CHECK_FALSE(exists(folder.path() + "/second.gguf"));
}

TEST_CASE("PackingThatIsStoppedLeavesNothing") {
    const Folder folder;
    for (const int calls : {1, 4, 12}) {
        int left = calls;
        const Status status =
            pack_unchanged(folder.stock(), folder.packed(), [&](const char *, double, double) { return --left > 0; });
        CHECK(status.code() == StatusCode::kCancelled);
        CHECK_FALSE(exists(folder.packed()));
        CHECK_FALSE(exists(folder.packed() + ".part"));
    }
}

}  // namespace edgemoe
