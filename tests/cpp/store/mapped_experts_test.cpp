#include "store/mapped_experts.h"

#include "store_testing.h"

#include <doctest/doctest.h>

namespace edgemoe::test {
namespace {

// Matrices of `rows` rows of `page / 4` bytes, the first one `first_quarters` quarters of a page into the file.
struct Bench {
    Bench(int64_t rows, uint64_t first_quarters)
        : page(FileMapping::page_bytes()), file({1, 2, rows, page / 4, first_quarters * (page / 4)}) {
        Result<std::unique_ptr<MappedExperts>> made = MappedExperts::create(file.index());
        REQUIRE_MESSAGE(made.is_ok(), made.status().message());
        experts = std::move(made).value();
    }

    const ExpertPart & part(int32_t expert, Projection projection) const {
        return file.index().parts({0, expert})[static_cast<size_t>(projection)];
    }

    // First page and number of pages that may go, or zeros.
    std::pair<uint64_t, uint64_t> release(int32_t expert, Projection projection) const {
        std::vector<MappedExperts::Span> spans;
        experts->release(part(expert, projection), &spans);
        REQUIRE(spans.size() <= 1);
        return spans.empty() ? std::pair<uint64_t, uint64_t>{0, 0}
                             : std::pair{spans[0].offset / page, spans[0].bytes / page};
    }

    uint64_t page;
    ExpertFile file;
    std::unique_ptr<MappedExperts> experts;
};

using Pages = std::pair<uint64_t, uint64_t>;

}  // namespace

TEST_CASE("AMatrixIsWhereTheFileIsMapped") {
    const Bench bench(6, 1);
    for (const Projection projection : {Projection::kGate, Projection::kDown}) {
        CHECK(bench.file.holds({0, 1}, projection, bench.experts->address(bench.part(1, projection))));
    }
}

TEST_CASE("APageThatTwoMatricesShareGoesWithTheSecond") {
    // 1.5 pages each from page 0.25: gate 0.25-1.75, up 1.75-3.25.
    const Bench bench(6, 1);
    bench.experts->retain(bench.part(0, Projection::kGate));
    bench.experts->retain(bench.part(0, Projection::kUp));
    CHECK(bench.release(0, Projection::kGate) == Pages{0, 1});
    CHECK(bench.release(0, Projection::kUp) == Pages{1, 3});
}

TEST_CASE("APageOfSeveralMatricesGoesWithTheLast") {
    const Bench bench(1, 0);  // four matrices a page
    for (const Projection projection : {Projection::kGate, Projection::kUp, Projection::kDown}) {
        bench.experts->retain(bench.part(0, projection));
    }
    CHECK(bench.release(0, Projection::kUp) == Pages{0, 0});
    CHECK(bench.release(0, Projection::kGate) == Pages{0, 0});
    bench.experts->retain(bench.part(1, Projection::kGate));
    CHECK(bench.release(0, Projection::kDown) == Pages{0, 0});
    CHECK(bench.release(1, Projection::kGate) == Pages{0, 1});
}

TEST_CASE("TheBudgetCountsThePagesAtTheBordersUnlessAllIsKept") {
    const Bench bench(6, 1);
    const uint64_t total = bench.file.index().total_bytes();
    CHECK(MappedExperts::matrix_budget(bench.file.index(), total) == total);
    CHECK(MappedExperts::matrix_budget(bench.file.index(), total - 1) < total * 3 / 5 + 1);  // 1.5 of 2.5 pages
    CHECK(MappedExperts::matrix_budget(bench.file.index(), total / 2) < total * 3 / 10 + 1);
}

TEST_CASE("AStoreInPlaceGivesAddressesInTheMappingAndKeepsItsBudget") {
    const ExpertFile file({2, 8, 96, 96, 100});
    const auto store = file.make_store(4, make_mmap_reader(2), 4, "default", true);
    for (int pass = 0; pass < 4; ++pass) {
        for (int32_t layer = 0; layer < 2; ++layer) {
            for (const std::vector<int32_t> & experts : {std::vector<int32_t>{1, 5}, {0, 2, 4, 6, 7}}) {
                CHECK(serve(file, *store, layer, kGateAndUp, experts).is_ok());
                CHECK(serve(file, *store, layer, kDownOnly, experts).is_ok());
                CHECK(store->resident_bytes() <= store->cache_bytes());
            }
        }
    }
    CHECK(store->stats().evictions > 0);
    CHECK(store->stats().hits > 0);
    const auto lease = store->acquire(0, kWhole, {1}).value().release();
    const LeasePtr owner(lease);
    while (!is_there(*owner, 0, kWhole)) {
        REQUIRE(owner->progress(true));
    }
    const uint64_t apart = file.index().parts({0, 1})[1].offset - file.index().parts({0, 1})[0].offset;
    CHECK(owner->data(0, Projection::kUp) - owner->data(0, Projection::kGate) == static_cast<std::ptrdiff_t>(apart));
}

}  // namespace edgemoe::test
