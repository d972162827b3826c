#include "engine/memory_plan.h"

#include <doctest/doctest.h>

#include <cstdint>
#include <string>

namespace edgemoe {
namespace {

constexpr uint64_t kMiB = 1 << 20;

MemoryPlan small_plan() {
    MemoryPlan plan;
    plan.process_bytes = 10 * kMiB;
    plan.hot_bytes = 20 * kMiB;
    plan.kv_cache_bytes = 5 * kMiB;
    plan.compute_bytes = 3 * kMiB;
    plan.io_bytes = kMiB;
    plan.reserve_bytes = kMiB;
    plan.expert_bytes = 100 * kMiB;
    plan.least_cache_bytes = 4 * kMiB;
    plan.useful_cache_bytes = 30 * kMiB;
    return plan;
}

}  // namespace

TEST_CASE("FiguresAreRoundedUpToMebibytes") {
    CHECK(mebibytes(0) == "0 MiB");
    CHECK(mebibytes(1) == "1 MiB");
    CHECK(mebibytes(kMiB) == "1 MiB");
    CHECK(mebibytes(kMiB + 1) == "2 MiB");
    CHECK(mebibytes(uint64_t{5} << 40) == "5242880 MiB");
}

TEST_CASE("ThePlansFiguresAddUp") {
    CHECK(small_plan().fixed_bytes() == 40 * kMiB);
    CHECK(small_plan().least_bytes() == 44 * kMiB);
    CHECK(small_plan().useful_bytes() == 70 * kMiB);
}

TEST_CASE("TheCacheGetsWhatTheCeilingLeavesAndNoMoreThanAllExperts") {
    LoadOptions options;
    uint64_t ceiling_bytes = 0;
    options.memory_bytes = 60 * kMiB;
    const Result<uint64_t> some = expert_cache_bytes(small_plan(), options, "m.gguf", &ceiling_bytes);
    REQUIRE(some.is_ok());
    CHECK(some.value() == 20 * kMiB);
    CHECK(ceiling_bytes == 60 * kMiB);
    options.memory_bytes = 44 * kMiB;
    CHECK(expert_cache_bytes(small_plan(), options, "m.gguf", &ceiling_bytes).value() == 4 * kMiB);
    options.memory_bytes = 1000 * kMiB;
    CHECK(expert_cache_bytes(small_plan(), options, "m.gguf", &ceiling_bytes).value() == 100 * kMiB);
}

TEST_CASE("ACeilingBelowTheLeastIsRefusedWithTheLeast") {
    LoadOptions options;
    options.memory_bytes = 44 * kMiB - 1;
    uint64_t ceiling_bytes = 0;
    const Result<uint64_t> refused = expert_cache_bytes(small_plan(), options, "m.gguf", &ceiling_bytes);
    REQUIRE_FALSE(refused.is_ok());
    CHECK(refused.status().code() == StatusCode::kOutOfBudget);
    CHECK(refused.status().message().find("m.gguf: ") == 0);
    CHECK(refused.status().message().find("the least is 44 MiB") != std::string::npos);
}

TEST_CASE("ACacheThatIsGivenIsTakenWithoutACeiling") {
    LoadOptions options;
    options.memory_bytes = 1;
    options.expert_cache_bytes = 7 * kMiB;
    uint64_t ceiling_bytes = 1;
    const Result<uint64_t> given = expert_cache_bytes(small_plan(), options, "m.gguf", &ceiling_bytes);
    REQUIRE(given.is_ok());
    CHECK(given.value() == 7 * kMiB);
    CHECK(ceiling_bytes == 0);
}

TEST_CASE("TheContextIsWhatIsAskedForOrTheSmallerOfTheDefaultAndTheModels") {
    LoadOptions options;
    CHECK(context_size(options, 131072) == 4096);
    CHECK(context_size(options, 512) == 512);
    CHECK(context_size(options, 0) == 4096);
    options.n_ctx = 9000;
    CHECK(context_size(options, 512) == 9000);
}

TEST_CASE("ThreadsAreAsManyAsAskedForOrTheCoresOfTheProcess") {
    LoadOptions options;
    CHECK(thread_count(options) >= 1);
    options.n_threads = 3;
    CHECK(thread_count(options) == 3);
}

}  // namespace edgemoe
