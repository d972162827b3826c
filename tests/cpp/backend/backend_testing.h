// What tests of the backend share: a layer of random experts of one ggml type, in memory and in a file.
#pragma once

#include "backend/expert_layout.h"
#include "reader_testing.h"
#include "storage/expert_index.h"
#include "temporary_file.h"

#include "ggml-backend.h"
#include "ggml-cpu.h"
#include "ggml.h"

#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <memory>
#include <random>
#include <string>
#include <vector>

namespace edgemoe::test {

constexpr std::array kTypes = {GGML_TYPE_F32,  GGML_TYPE_F16,  GGML_TYPE_BF16,   GGML_TYPE_Q4_0,   GGML_TYPE_Q4_1,
                               GGML_TYPE_Q5_0, GGML_TYPE_Q8_0, GGML_TYPE_Q2_K,   GGML_TYPE_Q3_K,   GGML_TYPE_Q4_K,
                               GGML_TYPE_Q5_K, GGML_TYPE_Q6_K, GGML_TYPE_IQ4_NL, GGML_TYPE_IQ4_XS, GGML_TYPE_MXFP4};

struct ContextDeleter {
    void operator()(ggml_context * context) const { ggml_free(context); }
    void operator()(ggml_backend_buffer * buffer) const { ggml_backend_buffer_free(buffer); }
    void operator()(ggml_backend * backend) const { ggml_backend_free(backend); }
    void operator()(ggml_threadpool * pool) const { ggml_threadpool_free(pool); }
};
using Context = std::unique_ptr<ggml_context, ContextDeleter>;
using Buffer = std::unique_ptr<ggml_backend_buffer, ContextDeleter>;
using Backend = std::unique_ptr<ggml_backend, ContextDeleter>;
using ThreadPool = std::unique_ptr<ggml_threadpool, ContextDeleter>;

inline std::vector<float> random_floats(std::mt19937 * random, size_t n) {
    std::normal_distribution<float> normal;
    std::vector<float> values(n);
    for (float & value : values) {
        value = normal(*random);
    }
    return values;
}

// `rows` rows of `columns` random elements of `type`.
inline std::vector<std::byte> random_matrix(std::mt19937 * random, ggml_type type, int64_t columns, int64_t rows) {
    const std::vector<float> values = random_floats(random, static_cast<size_t>(columns * rows));
    std::vector<std::byte> bytes(ggml_row_size(type, columns) * static_cast<size_t>(rows));
    if (type == GGML_TYPE_F32) {
        std::memcpy(bytes.data(), values.data(), bytes.size());
    } else {
        CHECK(ggml_quantize_chunk(type, values.data(), bytes.data(), 0, rows, columns, nullptr) == bytes.size());
    }
    return bytes;
}

inline ExpertPart part_of(ggml_type type, int64_t columns, int64_t rows) {
    ExpertPart part;
    part.present = true;
    part.type = type;
    part.columns = columns;
    part.rows = rows;
    part.bytes = ggml_row_size(type, columns) * static_cast<size_t>(rows);
    return part;
}

// Layer kLayer of a model: gate and up [width -> hidden], down [hidden -> width], stacked over experts as in a GGUF
// file.
class RandomLayer {
public:
    static constexpr int32_t kLayer = 3;
    static constexpr int32_t kExperts = 8;

    RandomLayer(ggml_type type, int64_t width, int64_t hidden) : temporary_(0) {
        std::mt19937 random(static_cast<uint32_t>(type) + 1);
        std::ofstream file(temporary_.path(), std::ios::binary);
        const std::string head(100, 'x');  // so that nothing is aligned
        file.write(head.data(), static_cast<std::streamsize>(head.size()));
        uint64_t offset = head.size();
        ExpertLayer layer;
        layer.layer = kLayer;
        layer.experts.resize(kExperts);
        for (const Projection projection : {Projection::kGate, Projection::kUp, Projection::kDown}) {
            const auto p = static_cast<size_t>(projection);
            const bool down = projection == Projection::kDown;
            for (ExpertParts & parts : layer.experts) {
                parts[p] = part_of(type, down ? hidden : width, down ? width : hidden);
                parts[p].offset = offset;
                offset += parts[p].bytes;
                const std::vector<std::byte> matrix = random_matrix(&random, type, parts[p].columns, parts[p].rows);
                stacks_[p].insert(stacks_[p].end(), matrix.begin(), matrix.end());
            }
            file.write(reinterpret_cast<const char *>(stacks_[p].data()),
                       static_cast<std::streamsize>(stacks_[p].size()));
        }
        file.close();
        index_ = ExpertIndex({open_file(temporary_.path(), false)}, {layer}, 2);
    }

    // Expert e as in layers[e % layers.size()]: experts of different types in one layer. REQUIRES: all of one shape.
    explicit RandomLayer(const std::vector<std::unique_ptr<RandomLayer>> & layers) : temporary_(0) {
        std::ofstream file(temporary_.path(), std::ios::binary);
        uint64_t offset = 0;
        ExpertLayer layer;
        layer.layer = kLayer;
        for (int32_t expert = 0; expert < kExperts; ++expert) {
            const RandomLayer & origin = *layers[static_cast<size_t>(expert) % layers.size()];
            ExpertParts & parts = layer.experts.emplace_back(origin.index_.parts({kLayer, expert}));
            for (const Projection projection : {Projection::kGate, Projection::kUp, Projection::kDown}) {
                ExpertPart & part = parts[static_cast<size_t>(projection)];
                const std::byte * matrix = origin.stack(projection).data() + part.bytes * static_cast<uint64_t>(expert);
                part.offset = offset;
                offset += part.bytes;
                file.write(reinterpret_cast<const char *>(matrix), static_cast<std::streamsize>(part.bytes));
            }
        }
        file.close();
        index_ = ExpertIndex({open_file(temporary_.path(), false)}, {layer}, 2);
    }

    const ExpertIndex & index() const { return index_; }
    const ExpertPart & part(Projection projection) const {
        return index_.parts({kLayer, 0})[static_cast<size_t>(projection)];
    }
    const std::vector<std::byte> & stack(Projection projection) const {
        return stacks_[static_cast<size_t>(projection)];
    }
    static std::string name(Projection projection) {
        return "blk." + std::to_string(kLayer) + ".ffn_" + projection_name(projection) + "_exps.weight";
    }

    // The stack of all experts as a tensor of `context`, which allocates nothing.
    ggml_tensor * declare(ggml_context * context, Projection projection) const {
        const ExpertPart & one = part(projection);
        ggml_tensor * tensor =
            ggml_new_tensor_3d(context, static_cast<ggml_type>(one.type), one.columns, one.rows, kExperts);
        ggml_set_name(tensor, name(projection).c_str());
        return tensor;
    }

private:
    TemporaryFile temporary_;
    std::array<std::vector<std::byte>, kProjectionCount> stacks_;
    ExpertIndex index_;
};

}  // namespace edgemoe::test
