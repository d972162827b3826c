#include "engine/process_memory.h"

#include <algorithm>
#include <fstream>
#include <limits>
#include <sstream>
#include <string>

namespace edgemoe {

namespace {

constexpr uint64_t kUnlimited = std::numeric_limits<uint64_t>::max();

// "Name:   123 kB" in a /proc file, in bytes.
uint64_t proc_field_bytes(const std::string & path, const std::string & name) {
    std::ifstream file(path);
    std::string line;
    while (std::getline(file, line)) {
        if (line.compare(0, name.size() + 1, name + ":") == 0) {
            return std::strtoull(line.c_str() + name.size() + 1, nullptr, 10) * 1024;
        }
    }
    return 0;
}

uint64_t read_number(const std::string & path, uint64_t fallback) {
    std::ifstream file(path);
    uint64_t value = 0;
    return file >> value ? value : fallback;  // "max" fails to parse: the fallback
}

// A field of a memory.stat file.
uint64_t stat_field(const std::string & path, const std::string & name) {
    std::ifstream file(path);
    std::string key;
    uint64_t value = 0;
    while (file >> key >> value) {
        if (key == name) {
            return value;
        }
    }
    return 0;
}

// What one cgroup leaves; page cache that can be dropped counts as free.
uint64_t left_in(uint64_t limit, uint64_t usage, uint64_t droppable) {
    if (limit > (uint64_t{1} << 60)) {  // v1 writes no limit as a large one
        return kUnlimited;
    }
    return limit - std::min(limit, usage - std::min(usage, droppable));
}

uint64_t left_in_v1(const std::string & folder) {
    return left_in(read_number(folder + "/memory.limit_in_bytes", kUnlimited),
                   read_number(folder + "/memory.usage_in_bytes", 0),
                   stat_field(folder + "/memory.stat", "total_inactive_file"));
}

// Above memory.high a group is slowed down until it is useless.
uint64_t left_in_v2(const std::string & folder) {
    return left_in(
        std::min(read_number(folder + "/memory.max", kUnlimited), read_number(folder + "/memory.high", kUnlimited)),
        read_number(folder + "/memory.current", 0), stat_field(folder + "/memory.stat", "inactive_file"));
}

uint64_t left_in_cgroups(const std::string & root) {
    uint64_t left = kUnlimited;
    std::ifstream file(root + "/proc/self/cgroup");
    std::string line;
    while (std::getline(file, line)) {
        const size_t first = line.find(':');
        const size_t second = line.find(':', first + 1);
        if (first == std::string::npos || second == std::string::npos) {
            continue;
        }
        const std::string controllers = line.substr(first + 1, second - first - 1);
        std::string path = line.substr(second + 1);
        const bool v2 = controllers.empty();
        if (!v2 && ("," + controllers + ",").find(",memory,") == std::string::npos) {
            continue;
        }
        const std::string mount = root + (v2 ? "/sys/fs/cgroup" : "/sys/fs/cgroup/memory");
        while (true) {
            const std::string folder = mount + (path == "/" ? "" : path);
            left = std::min(left, v2 ? left_in_v2(folder) : left_in_v1(folder));
            if (path.empty() || path == "/") {
                break;
            }
            path = path.substr(0, path.rfind('/'));
        }
    }
    return left;
}

}  // namespace

uint64_t process_resident_bytes() {
    return proc_field_bytes("/proc/self/status", "VmRSS");
}
uint64_t process_peak_bytes() {
    return proc_field_bytes("/proc/self/status", "VmHWM");
}

uint64_t available_memory_bytes(const std::string & root) {
    return std::min(proc_field_bytes(root + "/proc/meminfo", "MemAvailable"), left_in_cgroups(root));
}

}  // namespace edgemoe
