#include "reader_testing.h"
#include "storage/async_reader.h"

#include <doctest/doctest.h>

#include <memory>
#include <string>

namespace edgemoe::test {

TEST_CASE("the thread reader names itself, and has a lane whatever it is asked for") {
    const TemporaryFile temporary(kDirectAlignment);
    const auto file = open_file(temporary.path(), false);
    const AlignedMemory memory = allocate(kDirectAlignment);
    for (const int n_lanes : {-5, 0, 1}) {
        const std::unique_ptr<AsyncReader> reader = make_thread_reader(n_lanes);
        CHECK(std::string(reader->name()) == "threads");
        reader->submit(consecutive_reads(*file, memory.data(), 1, kDirectAlignment));
        CHECK(wait_for_all(reader.get()).size() == 1);
    }
}

TEST_CASE("a thread reader that was never used ends") {
    make_thread_reader(8);
}

}  // namespace edgemoe::test
