#include "backend/hot_matmul.h"

#include "backend/hot_buffer.h"
#include "backend_testing.h"

#include "ggml-alloc.h"

#include <doctest/doctest.h>

namespace edgemoe::test {

namespace {

constexpr int64_t kColumns = 1024;
constexpr int64_t kRows = 1088;  // several stretches, and a last one that is smaller

// The buffer types that llama.cpp may choose for a hot weight.
std::vector<ggml_backend_buffer_type_t> buffer_types() {
    std::vector<ggml_backend_buffer_type_t> types = {ggml_backend_cpu_buffer_type()};
    ggml_backend_dev_t cpu = ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU);
    auto get = reinterpret_cast<ggml_backend_dev_get_extra_bufts_t>(
        ggml_backend_reg_get_proc_address(ggml_backend_dev_backend_reg(cpu), "ggml_backend_dev_get_extra_bufts"));
    for (ggml_backend_buffer_type_t * type = get(cpu); type != nullptr && *type != nullptr; type++) {
        types.push_back(*type);
    }
    return types;
}

}  // namespace

TEST_CASE("HotWeightsAreMultipliedAsGgmlDoes") {
    ThreadPool pool;
    {
        ggml_threadpool_params params = ggml_threadpool_params_default(2);
        pool.reset(ggml_threadpool_new(&params));
    }
    for (const ggml_backend_buffer_type_t buffer_type : buffer_types()) {
        for (const ggml_type type : kTypes) {
            for (const int64_t n_inputs : {1, 3}) {
                CAPTURE(ggml_backend_buft_name(buffer_type));
                CAPTURE(ggml_type_name(type));
                CAPTURE(n_inputs);
                std::mt19937 random(5);
                Context context(ggml_init({ggml_tensor_overhead() * 8 + ggml_graph_overhead(), nullptr, true}));
                ggml_tensor * weights = ggml_new_tensor_2d(context.get(), type, kColumns, kRows);
                ggml_tensor * input = ggml_new_tensor_2d(context.get(), GGML_TYPE_F32, kColumns, n_inputs);
                ggml_tensor * product = ggml_mul_mat(context.get(), weights, input);
                Result<std::unique_ptr<HotBuffer>> hot =
                    HotBuffer::allocate(buffer_type, ggml_nbytes(weights) + 4096, pool.get());
                REQUIRE(hot.is_ok());
                ggml_tallocr allocator = ggml_tallocr_new(hot.value()->handle());
                REQUIRE(ggml_tallocr_alloc(&allocator, weights) == GGML_STATUS_SUCCESS);
                CHECK(hot_buffer_of(weights) == hot.value().get());
                if (buffer_type != ggml_backend_cpu_buffer_type() && weights->extra == nullptr) {
                    continue;  // ggml does not interleave this type
                }
                const std::vector<std::byte> matrix = random_matrix(&random, type, kColumns, kRows);
                ggml_backend_tensor_set(weights, matrix.data(), 0, matrix.size());
                std::vector<float> inputs = random_floats(&random, static_cast<size_t>(kColumns * n_inputs));
                input->data = inputs.data();

                CHECK(HotMatmul::takes(product) == ggml_is_quantized(type));
                if (!ggml_is_quantized(type)) {
                    continue;
                }
                std::vector<float> ours(static_cast<size_t>(kRows * n_inputs), NAN);
                product->data = ours.data();
                HotMatmul().compute({product}, 2);

                std::vector<float> theirs(ours.size(), NAN);
                product->data = theirs.data();
                ggml_cgraph * graph = ggml_new_graph_custom(context.get(), 4, false);
                ggml_build_forward_expand(graph, product);
                ggml_cplan plan = ggml_graph_plan(graph, 2, pool.get());
                std::vector<uint8_t> work(plan.work_size);
                plan.work_data = work.data();
                REQUIRE(ggml_graph_compute(graph, &plan) == GGML_STATUS_SUCCESS);
                CHECK(std::memcmp(ours.data(), theirs.data(), ours.size() * sizeof(float)) == 0);
            }
        }
    }
}

TEST_CASE("WeightsElsewhereSmallOnesAndManyInputsAreLeftToGgml") {
    Context context(ggml_init({ggml_tensor_overhead() * 8, nullptr, true}));
    ggml_tensor * elsewhere = ggml_new_tensor_2d(context.get(), GGML_TYPE_Q8_0, kColumns, kRows);
    ggml_tensor * input = ggml_new_tensor_2d(context.get(), GGML_TYPE_F32, kColumns, 1);
    CHECK_FALSE(HotMatmul::takes(ggml_mul_mat(context.get(), elsewhere, input)));

    Result<std::unique_ptr<HotBuffer>> hot =
        HotBuffer::allocate(ggml_backend_cpu_buffer_type(), ggml_nbytes(elsewhere) + 4096, nullptr);
    REQUIRE(hot.is_ok());
    ggml_tallocr allocator = ggml_tallocr_new(hot.value()->handle());
    REQUIRE(ggml_tallocr_alloc(&allocator, elsewhere) == GGML_STATUS_SUCCESS);
    CHECK(HotMatmul::takes(ggml_mul_mat(context.get(), elsewhere, input)));
    ggml_tensor few_rows = *elsewhere;
    few_rows.ne[1] = 64;
    CHECK_FALSE(HotMatmul::takes(ggml_mul_mat(context.get(), &few_rows, input)));
    ggml_tensor * many = ggml_new_tensor_2d(context.get(), GGML_TYPE_F32, kColumns, 4);
    CHECK_FALSE(HotMatmul::takes(ggml_mul_mat(context.get(), elsewhere, many)));
}

}  // namespace edgemoe::test
