#include "backend/expert_layout.h"

#include "backend_testing.h"

#include <doctest/doctest.h>

#include <algorithm>

namespace edgemoe::test {

TEST_CASE("RowsConvertedInGroupsAreTheMatrixConvertedWhole") {
    for (const ggml_type type : kTypes) {
        for (const int64_t rows : {int64_t{256}, int64_t{96}, int64_t{72}, int64_t{33}}) {
            CAPTURE(ggml_type_name(type));
            CAPTURE(rows);
            std::mt19937 random(7);
            const ExpertPart part = part_of(type, 512, rows);
            ExpertLayer layer;
            layer.experts.resize(4);
            for (ExpertParts & parts : layer.experts) {
                parts[static_cast<size_t>(Projection::kUp)] = part;
            }
            const ExpertIndex index({}, {layer}, 2);
            const ExpertLayout layout(index);
            const std::vector<std::byte> matrix = random_matrix(&random, type, part.columns, rows);
            const size_t row_bytes = matrix.size() / static_cast<size_t>(rows);

            std::vector<std::byte> whole(matrix.size());
            layout.convert(part, 0, rows, matrix.data(), whole.data());
            for (const int64_t step : {kRowGroup, 2 * kRowGroup, 3 * kRowGroup}) {
                CAPTURE(step);
                std::vector<std::byte> grouped(matrix.size());
                for (int64_t row = 0; row < rows; row += step) {
                    const size_t at = static_cast<size_t>(row) * row_bytes;
                    layout.convert(part, row, std::min(step, rows - row), matrix.data() + at, grouped.data() + at);
                }
                CHECK(grouped == whole);
            }
            ggml_tensor tensor;
            layout.describe(part, whole.data(), 0, rows, &tensor);
            if (ggml_backend_buft_is_host(ggml_backend_buffer_get_type(tensor.buffer))) {
                CHECK(whole == matrix);  // ggml does not interleave this type and shape
            }
        }
    }
}

TEST_CASE("ADescriptionIsTheRowsAskedFor") {
    const ExpertPart part = part_of(GGML_TYPE_Q8_0, 256, 128);
    ExpertLayer layer;
    layer.experts.resize(2);
    for (ExpertParts & parts : layer.experts) {
        parts[static_cast<size_t>(Projection::kDown)] = part;
    }
    const ExpertIndex index({}, {layer}, 1);
    const ExpertLayout layout(index);
    std::vector<std::byte> matrix(part.bytes);
    ggml_tensor tensor;
    layout.describe(part, matrix.data(), 64, 32, &tensor);
    CHECK(tensor.type == GGML_TYPE_Q8_0);
    CHECK(tensor.ne[0] == 256);
    CHECK(tensor.ne[1] == 32);
    CHECK(tensor.ne[2] == 1);
    CHECK(tensor.data == matrix.data() + 64 * ggml_row_size(GGML_TYPE_Q8_0, 256));
    CHECK(ggml_nbytes(&tensor) == 32 * ggml_row_size(GGML_TYPE_Q8_0, 256));
}

}  // namespace edgemoe::test
