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
    CHECK(refused.status().message().find("the least is 45 MiB") != std::string::npos);
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

TEST_CASE("TheLargestContextIsTheLargestThatFits") {
    // 100 bytes and one more a token.
    const auto total = [](uint32_t n_tokens) { return Result<uint64_t>(100 + uint64_t{n_tokens}); };
    CHECK(largest_context(131072, 1'000'000, total).value() == 131072);
    CHECK(largest_context(1000, 1'000'000, total).value() == 1000);
    CHECK(largest_context(131072, 100 + 131071, total).value() == 131072 - 256);
    CHECK(largest_context(131072, 100 + 2048, total).value() == 2048);
    CHECK(largest_context(131072, 100 + 2047, total).value() == 2048 - 256);
    CHECK(largest_context(1000, 100 + 999, total).value() == 768);
    // Nothing fits: the least there is, and what is missing is found by who asks for the memory.
    CHECK(largest_context(131072, 10, total).value() == 512);
    CHECK(largest_context(300, 10, total).value() == 300);
}

TEST_CASE("AFailureWhileTheContextIsChosenIsReturned") {
    const auto fails = [](uint32_t) { return Result<uint64_t>(Status(StatusCode::kUnsupported, "no")); };
    CHECK(largest_context(4096, 100, fails).status().code() == StatusCode::kUnsupported);
}

TEST_CASE("RowTablesAreInMemoryWhereTheyFitBesideAllExperts") {
    MemoryPlan plan = small_plan();
    plan.row_table_bytes = 6 * kMiB;
    LoadOptions options;
    CHECK(row_tables_fit(plan, options, 146 * kMiB));
    CHECK_FALSE(row_tables_fit(plan, options, 146 * kMiB - 1));
    CHECK_FALSE(row_tables_fit(plan, options, 0));  // only the cache was given
    options.row_tables = Toggle::kOn;
    CHECK_FALSE(row_tables_fit(plan, options, 1000 * kMiB));
}

TEST_CASE("ThreadsAreAsManyAsAskedForOrTheCoresOfTheProcess") {
    LoadOptions options;
    CHECK(thread_count(options) >= 1);
    options.n_threads = 3;
    CHECK(thread_count(options) == 3);
}

}  // namespace edgemoe
