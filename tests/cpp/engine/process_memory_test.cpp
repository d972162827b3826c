#include "engine/process_memory.h"

#include <doctest/doctest.h>

#include <stdlib.h>

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace edgemoe {

namespace {

constexpr uint64_t kMiB = 1 << 20;

// A file tree with the /proc and /sys of another machine.
class FakeRoot {
public:
    FakeRoot() {
        std::string path = (std::filesystem::temp_directory_path() / "edgemoe-root-XXXXXX").string();
        REQUIRE(::mkdtemp(path.data()) != nullptr);
        path_ = path;
        write("/proc/meminfo", "MemTotal: 2097152 kB\nMemAvailable:   1048576 kB\nSwapFree: 7 kB\n");
    }
    ~FakeRoot() { std::filesystem::remove_all(path_); }
    FakeRoot(const FakeRoot &) = delete;
    FakeRoot & operator=(const FakeRoot &) = delete;

    void write(const std::string & file, const std::string & text) const {
        std::filesystem::create_directories(std::filesystem::path(path_ + file).parent_path());
        std::ofstream(path_ + file) << text;
    }
    uint64_t available_mib() const { return available_memory_bytes(path_) / kMiB; }

private:
    std::string path_;
};

std::string mib(uint64_t n) {
    return std::to_string(n * kMiB) + "\n";
}

}  // namespace

TEST_CASE("ThePeakIsNeverBelowWhatIsResident") {
    const uint64_t resident_bytes = process_resident_bytes();
    CHECK(resident_bytes > 0);
    CHECK(process_peak_bytes() >= resident_bytes);
}

TEST_CASE("MemoryThatIsTouchedShowsInThePeak") {
    constexpr size_t kBytes = size_t{64} << 20;
    const uint64_t before_bytes = process_resident_bytes();
    std::vector<char> touched(kBytes);
    std::memset(touched.data(), 1, touched.size());
    CHECK(process_peak_bytes() >= before_bytes + kBytes / 2);
    CHECK(touched[kBytes / 3] == 1);
}

TEST_CASE("WithoutCgroupsItIsWhatTheMachineHas") {
    const FakeRoot root;
    CHECK(root.available_mib() == 1024);
    root.write("/proc/self/cgroup", "3:cpu:/a\n0::/a\n");  // no memory controller, no files
    CHECK(root.available_mib() == 1024);
}

TEST_CASE("ACgroupOfVersion2LeavesItsLimitLessWhatCannotBeDropped") {
    const FakeRoot root;
    root.write("/proc/self/cgroup", "0::/user/service\n");
    root.write("/sys/fs/cgroup/user/service/memory.max", "max\n");
    root.write("/sys/fs/cgroup/user/service/memory.current", mib(100));
    CHECK(root.available_mib() == 1024);
    root.write("/sys/fs/cgroup/user/service/memory.max", mib(500));
    CHECK(root.available_mib() == 400);
    root.write("/sys/fs/cgroup/user/service/memory.stat", "anon 5\ninactive_file 31457280\nfile 7\n");
    CHECK(root.available_mib() == 430);
    root.write("/sys/fs/cgroup/user/service/memory.high", mib(300));
    CHECK(root.available_mib() == 230);
    SUBCASE("and a parent may leave less") {
        root.write("/sys/fs/cgroup/user/memory.max", mib(800));
        root.write("/sys/fs/cgroup/user/memory.current", mib(750));
        CHECK(root.available_mib() == 50);
    }
    SUBCASE("and nothing where more is used than is allowed") {
        root.write("/sys/fs/cgroup/user/service/memory.current", mib(900));
        CHECK(root.available_mib() == 0);
    }
}

TEST_CASE("ACgroupOfVersion1IsFoundByItsMemoryController") {
    const FakeRoot root;
    root.write("/proc/self/cgroup", "4:cpu,memory:/docker/x\n2:pids:/other\n0::/\n");
    root.write("/sys/fs/cgroup/memory/docker/x/memory.limit_in_bytes", "9223372036854771712\n");
    root.write("/sys/fs/cgroup/memory/docker/x/memory.usage_in_bytes", mib(10));
    CHECK(root.available_mib() == 1024);  // that number is no limit
    root.write("/sys/fs/cgroup/memory/docker/x/memory.limit_in_bytes", mib(200));
    root.write("/sys/fs/cgroup/memory/docker/x/memory.stat", "cache 9\ntotal_inactive_file 4194304\n");
    CHECK(root.available_mib() == 194);
    // Inside a container the group is the mount's root.
    root.write("/sys/fs/cgroup/memory/memory.limit_in_bytes", mib(64));
    root.write("/sys/fs/cgroup/memory/memory.usage_in_bytes", mib(4));
    CHECK(root.available_mib() == 60);
}

TEST_CASE("SomeMemoryIsAvailable") {
    CHECK(available_memory_bytes() > 0);
    CHECK(available_memory_bytes() < uint64_t{1} << 60);
}

}  // namespace edgemoe
