#include "engine/plan.h"

#include <doctest/doctest.h>

namespace edgemoe {

TEST_CASE("ALargerCacheMissesLessOfATypicalToken") {
    CHECK(typical_missed_share(0) == 1.0);
    CHECK(typical_missed_share(1) == 0.0);
    double previous = 1.0;
    for (int percent = 1; percent <= 100; ++percent) {
        CAPTURE(percent);
        const double missed = typical_missed_share(percent / 100.0);
        CHECK(missed < previous);
        CHECK(missed >= 0);
        CHECK(missed <= 1 - percent / 100.0);  // never worse than uniform routing
        previous = missed;
    }
}

TEST_CASE("AProbeOfNoSensibleLengthIsRefused") {
    for (const double seconds : {-1.0, 61.0}) {
        const Result<Plan> plan = make_plan("/no/such.gguf", {}, {seconds});
        REQUIRE_FALSE(plan.is_ok());
        CHECK(plan.status().code() == StatusCode::kInvalidArgument);
    }
    CHECK(make_plan("/no/such.gguf", {}, {0}).status().code() == StatusCode::kNotFound);
}

}  // namespace edgemoe
