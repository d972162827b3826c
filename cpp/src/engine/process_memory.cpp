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
uint64_t proc_field_bytes(const char * path, const std::string & name) {
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
uint64_t left_in(const std::string & folder, const char * limit_file, const char * usage_file,
                 const char * cache_field) {
    const uint64_t limit = read_number(folder + "/" + limit_file, kUnlimited);
    if (limit > (uint64_t{1} << 60)) {
        return kUnlimited;
    }
    const uint64_t usage = read_number(folder + "/" + usage_file, 0);
    const uint64_t used = usage - std::min(usage, stat_field(folder + "/memory.stat", cache_field));
    return limit - std::min(limit, used);
}

uint64_t left_in_cgroups() {
    uint64_t left = kUnlimited;
    std::ifstream file("/proc/self/cgroup");
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
        const std::string root = v2 ? "/sys/fs/cgroup" : "/sys/fs/cgroup/memory";
        while (true) {
            const std::string folder = root + (path == "/" ? "" : path);
            left = std::min(
                left, v2 ? left_in(folder, "memory.max", "memory.current", "inactive_file")
                         : left_in(folder, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"));
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

uint64_t available_memory_bytes() {
    return std::min(proc_field_bytes("/proc/meminfo", "MemAvailable"), left_in_cgroups());
}

}  // namespace edgemoe
