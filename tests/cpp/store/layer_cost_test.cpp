// What the store costs while everything is resident: no allocation, and a share of a token's time that does not matter.
#include "fake_reader.h"
#include "store/expert_store.h"
#include "store_testing.h"

#include <doctest/doctest.h>
#include <sys/resource.h>

#include <cstdlib>
#include <new>

namespace {

thread_local uint64_t n_allocations = 0;

void * allocate(size_t bytes) {
    n_allocations++;
    void * memory = std::malloc(bytes == 0 ? 1 : bytes);
    if (memory == nullptr) {
        throw std::bad_alloc();
    }
    return memory;
}

}  // namespace

// For the whole test program: counts what this thread allocates.
void * operator new(size_t bytes) {
    return allocate(bytes);
}
void * operator new[](size_t bytes) {
    return allocate(bytes);
}
void operator delete(void * memory) noexcept {
    std::free(memory);
}
void operator delete[](void * memory) noexcept {
    std::free(memory);
}
void operator delete(void * memory, size_t) noexcept {
    std::free(memory);
}
void operator delete[](void * memory, size_t) noexcept {
    std::free(memory);
}

namespace edgemoe::test {
namespace {

constexpr Shape kShape = {16, 64, 32, 64, 100, 8};  // OLMoE's layers and experts, with small matrices

// FakeReader allocates for itself; that is not counted.
class UncountedReader final : public AsyncReader {
public:
    void submit(const std::vector<ReadRequest> & requests) override {
        uncounted([&] { inner_.submit(requests); });
    }
    size_t reap(std::vector<ReadCompletion> * completions) override {
        return uncounted([&] { return inner_.reap(completions); });
    }
    size_t wait(std::vector<ReadCompletion> * completions) override {
        return uncounted([&] { return inner_.wait(completions); });
    }
    void cancel(uint64_t) override {}
    void promote(uint64_t) override {}
    const char * name() const override { return "uncounted"; }

private:
    template <typename Call>
    static auto uncounted(Call call) -> decltype(call()) {
        struct Restore {
            uint64_t before = n_allocations;
            ~Restore() { n_allocations = before; }
        } restore;
        return call();
    }
    FakeReader inner_;
};

double cpu_seconds() {
    rusage usage = {};
    REQUIRE(::getrusage(RUSAGE_THREAD, &usage) == 0);
    const auto seconds = [](const timeval & time) {
        return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
    };
    return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

std::vector<int32_t> experts_of(int token, int32_t layer) {
    std::vector<int32_t> experts;
    for (int32_t i = 0; i < 8; ++i) {
        experts.push_back((token * 13 + layer * 7 + i * 8) % kShape.n_experts);
    }
    return experts;
}

// As for a layer of a token: asks for each matrix, and releases. Reads what is missing.
void pass_layer(ExpertStore & store, int32_t layer, const std::vector<int32_t> & experts) {
    for (const ProjectionMask mask : {kGateAndUp, kDownOnly}) {
        const Result<LeasePtr> lease = store.acquire(layer, mask, experts);
        for (size_t i = 0; i < experts.size(); ++i) {
            for (const Projection projection : {Projection::kGate, Projection::kUp, Projection::kDown}) {
                while ((mask & projection_bit(projection)) != 0 && lease.value()->data(i, projection) == nullptr) {
                    lease.value()->progress(true);
                }
            }
            lease.value()->release(i);
        }
    }
}

}  // namespace

TEST_CASE("AResidentLayerAllocatesNothingAndCostsMicroseconds") {
    const ExpertFile file(kShape);
    const auto store = file.make_store(16 * 64, std::make_unique<FakeReader>(), 16, "default");
    std::vector<int32_t> all(64);
    for (int32_t expert = 0; expert < 64; ++expert) {
        all[static_cast<size_t>(expert)] = expert;
    }
    for (int32_t layer = 0; layer < kShape.n_layers; ++layer) {
        pass_layer(*store, layer, all);
    }
    constexpr int kTokens = 400;
    std::vector<std::vector<int32_t>> experts;
    for (int token = 0; token < kTokens; ++token) {
        for (int32_t layer = 0; layer < kShape.n_layers; ++layer) {
            experts.push_back(experts_of(token, layer));
        }
    }
    const uint64_t read_bytes = store->stats().read_bytes;
    const uint64_t allocations = n_allocations;
    const double start = cpu_seconds();
    size_t next = 0;
    for (int token = 0; token < kTokens; ++token) {
        for (int32_t layer = 0; layer < kShape.n_layers; ++layer) {
            const std::vector<int32_t> & chosen = experts[next++];
            for (const ProjectionMask mask : {kGateAndUp, kDownOnly}) {
                const Result<LeasePtr> lease = store->acquire(layer, mask, chosen);
                for (size_t i = 0; i < chosen.size(); ++i) {
                    lease.value()->release(i);
                }
            }
        }
    }
    const double seconds = cpu_seconds() - start;
    const uint64_t n_new = n_allocations - allocations;
    CHECK(store->stats().read_bytes == read_bytes);
    CHECK(n_new == 0);
    MESSAGE((1e6 * seconds / kTokens) << " us of CPU a token of 16 layers x 8 experts, "
                                      << (1e6 * seconds / (kTokens * 16 * 2)) << " us an acquire and its releases");
}

TEST_CASE("ALayerThatReadsAndEvictsAllocatesNothingOnceItIsWarm") {
    const ExpertFile file(kShape);
    const auto store = file.make_store(300, std::make_unique<UncountedReader>(), 16, "default");
    std::vector<std::vector<int32_t>> experts;
    for (int token = 0; token < 80; ++token) {
        for (int32_t layer = 0; layer < kShape.n_layers; ++layer) {
            experts.push_back(experts_of(token * token, layer));
        }
    }
    uint64_t allocations = 0;
    const size_t warm = experts.size() / 2;
    for (size_t i = 0; i < experts.size(); ++i) {
        if (i == warm) {
            allocations = n_allocations;
        }
        pass_layer(*store, static_cast<int32_t>(i % 16), experts[i]);
    }
    const uint64_t n_new = n_allocations - allocations;
    CHECK(store->stats().evictions > 0);
    CHECK(n_new == 0);
}

TEST_CASE("ForecastsAllocateNothingOnceTheyAreWarm") {
    const ExpertFile file(kShape);
    const auto store =
        file.make_store(300, std::make_unique<UncountedReader>(), 16, "default", false, Prefetch::kAlways);
    std::vector<std::vector<int32_t>> experts;
    std::vector<std::vector<ExpertForecast>> forecasts;
    for (int token = 0; token < 80; ++token) {
        for (int32_t layer = 0; layer < kShape.n_layers; ++layer) {
            experts.push_back(experts_of(token * token, layer));
            forecasts.emplace_back();
            for (const int32_t expert : experts_of(token * token + token % 2, layer)) {
                forecasts.back().push_back({{(layer + 1) % kShape.n_layers, (expert + 7) % kShape.n_experts}, 0.8F, 1});
            }
        }
    }
    uint64_t allocations = 0;
    const size_t warm = experts.size() / 2;
    for (size_t i = 0; i < experts.size(); ++i) {
        if (i == warm) {
            allocations = n_allocations;
        }
        pass_layer(*store, static_cast<int32_t>(i % 16), experts[i]);
        store->forecast(forecasts[i]);
    }
    const uint64_t n_new = n_allocations - allocations;
    CHECK(store->stats().prefetch.read_ahead_bytes > 0);
    CHECK(n_new == 0);
}

}  // namespace edgemoe::test
