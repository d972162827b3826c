#include "backend/row_product.h"

#include "backend_testing.h"

#include <doctest/doctest.h>

namespace edgemoe::test {

namespace {

std::vector<float> multiply(const ggml_tensor & weights, const std::vector<float> & inputs, size_t n,
                            RowProductKernel kernel) {
    std::vector<float> outputs(n * static_cast<size_t>(weights.ne[1]), NAN);
    std::vector<RowProductVector> vectors;
    for (size_t i = 0; i < n; i++) {
        vectors.push_back({inputs.data() + i * static_cast<size_t>(weights.ne[0]),
                           outputs.data() + i * static_cast<size_t>(weights.ne[1])});
    }
    const int32_t op_params[GGML_MAX_OP_PARAMS / sizeof(int32_t)] = {};
    RowProduct().multiply(weights, vectors, kernel, op_params);
    return outputs;
}

}  // namespace

TEST_CASE("ABatchOfInputsGivesTheBitsOfEachByItselfWhereTheLayoutSaysSo") {
    constexpr size_t kInputs = 13;
    for (const ggml_type type : kTypes) {
        CAPTURE(ggml_type_name(type));
        std::mt19937 random(11);
        const ExpertPart part = part_of(type, 512, 128);
        ExpertLayer layer;
        layer.experts.resize(4);
        for (ExpertParts & parts : layer.experts) {
            parts[static_cast<size_t>(Projection::kUp)] = part;
        }
        const ExpertIndex index({}, {layer}, 2);
        const ExpertLayout layout(index);
        const std::vector<std::byte> source = random_matrix(&random, type, part.columns, part.rows);
        std::vector<std::byte> matrix(source.size());
        layout.convert(part, 0, part.rows, source.data(), matrix.data());
        ggml_tensor weights;
        layout.describe(part, matrix.data(), 0, part.rows, &weights);
        const std::vector<float> inputs = random_floats(&random, kInputs * static_cast<size_t>(part.columns));

        const std::vector<float> together = multiply(weights, inputs, kInputs, RowProductKernel::kOneByOne);
        if (layout.batch_is_exact(part)) {
            const std::vector<float> batch = multiply(weights, inputs, kInputs, RowProductKernel::kBatch);
            CHECK(std::memcmp(batch.data(), together.data(), batch.size() * sizeof(float)) == 0);
        }
    }
}

}  // namespace edgemoe::test
