#include "simulate/trace_writer.h"

#include <doctest/doctest.h>

#include <cstdio>
#include <filesystem>

namespace edgemoe {
namespace {

struct TemporaryPath {
    std::string path = (std::filesystem::temp_directory_path() / "edgemoe_trace_writer_test.csv").string();
    ~TemporaryPath() { std::filesystem::remove(path); }
};

TEST_CASE("WhatIsWrittenIsReadBack") {
    const TemporaryPath file;
    Result<std::unique_ptr<TraceWriter>> writer =
        TraceWriter::create(file.path, {"a model.gguf", "test", {3, 8}, 2, {0, 640, 320}});
    REQUIRE(writer.is_ok());
    writer.value()->add(0, TracePhase::kPrompt, 0, 1, 0, 7);
    writer.value()->add(0, TracePhase::kPrompt, 1, 1, 0, 2);
    writer.value()->add(0, TracePhase::kPrompt, 0, 2, 0, 1);
    writer.value()->add(0, TracePhase::kDecode, 2, 1, 0, 6);
    writer.value()->add(0, TracePhase::kDecode, 2, 1, 1, 0);
    REQUIRE(writer.value()->close().is_ok());

    const Result<RoutingTrace> trace = read_trace_file(file.path);
    REQUIRE_MESSAGE(trace.is_ok(), trace.status().message());
    CHECK(trace.value().model == "a_model.gguf");
    CHECK(trace.value().shape.n_layers == 3);
    CHECK(trace.value().shape.n_experts == 8);
    CHECK(trace.value().sizes.of({0, 0}) == 0);
    CHECK(trace.value().sizes.of({1, 7}) == 640);
    CHECK(trace.value().sizes.of({2, 0}) == 320);
    REQUIRE(trace.value().steps.size() == 2);
    CHECK(trace.value().steps[0].phase == TracePhase::kPrompt);
    CHECK(trace.value().steps[0].layers[0].experts == std::vector<int32_t>{2, 7});
    CHECK(trace.value().steps[0].layers[1].experts == std::vector<int32_t>{1});
    CHECK(trace.value().steps[1].layers[0].experts == std::vector<int32_t>{6, 0});
}

TEST_CASE("ScoresAreReadBackToTheLastBit") {
    const TemporaryPath file;
    Result<std::unique_ptr<TraceWriter>> writer = TraceWriter::create(file.path, {"m", "test", {2, 3}, 1, {64, 64}});
    REQUIRE(writer.is_ok());
    const std::vector<float> first = {1.0F / 3, 1e-30F, 0.9999999F}, second = {0.0F, 0.1F, 123456.789F};
    writer.value()->add(0, TracePhase::kDecode, 0, 0, 0, 2);
    writer.value()->add_scores(first.data(), first.size());
    writer.value()->add(0, TracePhase::kDecode, 0, 1, 0, 1);
    writer.value()->add(0, TracePhase::kDecode, 1, 0, 0, 0);
    writer.value()->add_scores(second.data(), second.size());
    REQUIRE(writer.value()->close().is_ok());
    const Result<RoutingTrace> trace = read_trace_file(file.path);
    REQUIRE_MESSAGE(trace.is_ok(), trace.status().message());
    REQUIRE(trace.value().steps.size() == 2);
    CHECK(trace.value().steps[0].layers[0].scores == first);
    CHECK(trace.value().steps[0].layers[1].scores.empty());
    CHECK(trace.value().steps[1].layers[0].scores == second);
}

TEST_CASE("AFileThatCannotBeWrittenIsRefused") {
    const Result<std::unique_ptr<TraceWriter>> writer = TraceWriter::create("/no/such/folder/t.csv", {});
    REQUIRE_FALSE(writer.is_ok());
    CHECK(writer.status().code() == StatusCode::kIo);
    CHECK(writer.status().message().find("/no/such/folder/t.csv: cannot be written") == 0);
    const Result<RoutingTrace> missing = read_trace_file("/no/such/folder/t.csv");
    REQUIRE_FALSE(missing.is_ok());
    CHECK(missing.status().code() == StatusCode::kNotFound);
}

TEST_CASE("AFullDiskIsReportedWhenTheTraceEnds") {
    if (!std::filesystem::exists("/dev/full")) {
        return;
    }
    Result<std::unique_ptr<TraceWriter>> writer = TraceWriter::create("/dev/full", {"m", "test", {1, 2}, 1, {64}});
    REQUIRE(writer.is_ok());
    writer.value()->add(0, TracePhase::kDecode, 0, 0, 0, 1);
    const Status status = writer.value()->close();
    CHECK(status.code() == StatusCode::kIo);
    CHECK(status.message().find("/dev/full: the trace could not be written whole") == 0);
}

}  // namespace
}  // namespace edgemoe
