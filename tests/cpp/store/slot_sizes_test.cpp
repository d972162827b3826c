#include "store/slot_sizes.h"

#include "store_testing.h"

#include <doctest/doctest.h>

namespace edgemoe::test {

TEST_CASE("EveryExpertHasTheSizeOfItsSlot") {
    const ExpertFile file({2, 4, 10, 10, 100});  // matrices of 100 bytes, slots of multiples of 64
    const PolicyShape shape = policy_shape(file.index());
    CHECK(shape.n_layers == 2);
    CHECK(shape.n_experts == 4);
    const ExpertSizes sizes = slot_sizes(file.index());
    CHECK(sizes.total() == 8 * 3 * 128);
    CHECK(sizes.of({1, 3}) == ExpertStore::slot_bytes(file.index().parts({1, 3})));
}

TEST_CASE("LayersWithoutExpertsHaveNone") {
    ExpertPart part;
    part.present = true;
    part.bytes = 64;
    part.rows = 1;
    ExpertParts parts;
    parts[0] = part;
    const ExpertIndex index({}, {{1, {parts, parts}}, {3, {parts}}}, 1);
    const ExpertSizes sizes = slot_sizes(index);
    CHECK(sizes.n_experts == 2);
    CHECK(sizes.bytes == std::vector<uint64_t>{0, 0, 64, 64, 0, 0, 64, 0});
}

}  // namespace edgemoe::test
