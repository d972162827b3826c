#include "storage/expert_index.h"

#include <doctest/doctest.h>

#include <cstdint>
#include <initializer_list>
#include <limits>
#include <vector>

namespace edgemoe::test {
namespace {

// An expert with a matrix for each size, in the order of Projection; size 0 is an absent one.
ExpertParts expert(std::initializer_list<uint64_t> sizes) {
    ExpertParts parts;
    size_t projection = 0;
    for (const uint64_t bytes : sizes) {
        parts[projection].present = bytes != 0;
        parts[projection].bytes = bytes;
        ++projection;
    }
    return parts;
}

ExpertLayer layer_of(int32_t layer, std::initializer_list<uint64_t> expert_sizes) {
    ExpertLayer result;
    result.layer = layer;
    for (const uint64_t bytes : expert_sizes) {
        result.experts.push_back(expert({bytes}));
    }
    return result;
}

}  // namespace

TEST_CASE("an index without layers is empty and has nothing to find") {
    const ExpertIndex index;
    CHECK(index.empty());
    CHECK(index.n_experts() == 0);
    CHECK(index.find({0, 0}) == nullptr);
}

TEST_CASE("experts are found by layer and number, also where dense layers lie between") {
    const ExpertIndex index({}, {layer_of(5, {50, 51}), layer_of(1, {10, 11, 12})}, 1);
    REQUIRE(index.layers().size() == 2);
    CHECK(index.layers()[0].layer == 1);
    CHECK(index.layers()[1].layer == 5);
    CHECK(index.n_experts() == 5);
    CHECK(index.parts({1, 2})[0].bytes == 12);
    CHECK(index.parts({5, 0})[0].bytes == 50);
    CHECK(index.find({5, 1}) == &index.parts({5, 1}));
    for (const ExpertId absent :
         {ExpertId{0, 0}, ExpertId{3, 0}, ExpertId{6, 0}, ExpertId{-1, 0}, ExpertId{1, 3}, ExpertId{1, -1}}) {
        CHECK(index.find(absent) == nullptr);
    }
}

TEST_CASE("an expert's bytes are the sum over the parts that it has") {
    ExpertLayer layer;
    layer.experts.push_back(expert({3, 4, 0, 5}));
    layer.experts.push_back(expert({0, 0, 20, 6}));
    layer.experts.back()[0].bytes = 1'000;  // absent, so not counted
    const ExpertIndex index({}, {layer}, 1);
    CHECK(index.expert_bytes({0, 0}) == 12);
    CHECK(index.expert_bytes({0, 1}) == 26);
    CHECK(index.total_bytes() == 38);
    CHECK(index.largest_expert_bytes() == 26);
    CHECK(index.largest_part_bytes() == 20);
}

TEST_CASE("working sets count the top-k largest experts of each layer") {
    const ExpertIndex index({}, {layer_of(0, {1, 9, 5, 7}), layer_of(1, {8, 8, 8, 1})}, 2);
    CHECK(index.layer_working_set_bytes() == 16);
    CHECK(index.token_working_set_bytes() == 32);
    CHECK(index.total_bytes() == 47);
}

TEST_CASE("a layer with fewer experts than top-k counts all of them") {
    const ExpertIndex index({}, {layer_of(0, {1, 2, 3}), layer_of(1, {100})}, 2);
    CHECK(index.layer_working_set_bytes() == 100);
    CHECK(index.token_working_set_bytes() == 105);
}

TEST_CASE("no experts per token make an empty working set") {
    const ExpertIndex index({}, {layer_of(0, {1, 2, 3})}, 0);
    CHECK(index.layer_working_set_bytes() == 0);
    CHECK(index.token_working_set_bytes() == 0);
}

TEST_CASE("sums of hostile sizes stop at the largest number instead of wrapping") {
    const uint64_t huge = std::numeric_limits<uint64_t>::max() / 2 + 1;
    const ExpertIndex index({}, {layer_of(0, {huge, huge}), layer_of(1, {huge})}, 2);
    CHECK(index.total_bytes() == std::numeric_limits<uint64_t>::max());
    CHECK(index.layer_working_set_bytes() == std::numeric_limits<uint64_t>::max());
    CHECK(index.token_working_set_bytes() == std::numeric_limits<uint64_t>::max());
}

}  // namespace edgemoe::test
