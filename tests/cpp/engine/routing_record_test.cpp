#include "engine/routing_record.h"

#include <doctest/doctest.h>

namespace edgemoe {
namespace {

// Three tokens; the last one uses one expert only.
const LayerRouting kFirst = {0, 3, 2, {0, 2, 2, 0, 1, -1}, {0.5F, 0.5F, 0.75F, 0.25F, 1, 0}};
const LayerRouting kSecond = {1, 2, 1, {1, 0, 1}, {1, 1, 1}};

}  // namespace

TEST_CASE("CountsAndMassLeaveOutWhatIsNotUsed") {
    CHECK(kFirst.n_tokens() == 3);
    CHECK(kFirst.counts() == std::vector<uint32_t>{2, 1, 2});
    CHECK(kFirst.mass() == std::vector<double>{0.75, 1, 1.25});
}

TEST_CASE("CoActivationCountsTokensOfBothExperts") {
    CHECK(kFirst.co_activation() == std::vector<uint32_t>{2, 0, 2, 0, 1, 0, 2, 0, 2});
}

TEST_CASE("PathsLeadFromOneLayersExpertsToAnothers") {
    CHECK(path_counts(kFirst, kSecond) == std::vector<uint32_t>{1, 1, 0, 1, 1, 1});
}

TEST_CASE("NoTokensAreNoCounts") {
    const LayerRouting none = {0, 2, 2, {}, {}};
    CHECK(none.counts() == std::vector<uint32_t>{0, 0});
    CHECK(path_counts(none, none) == std::vector<uint32_t>(4, 0));
}

}  // namespace edgemoe
