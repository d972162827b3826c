#include "storage/user_cache.h"

#include <cstdlib>

namespace edgemoe {
namespace {

// Of an environment variable that names a folder; the XDG specification has relative ones ignored.
std::string absolute_path(const char * variable) {
    const char * value = std::getenv(variable);
    return value != nullptr && value[0] == '/' ? value : "";
}

}  // namespace

std::string user_cache_folder() {
    const std::string cache = absolute_path("XDG_CACHE_HOME");
    if (!cache.empty()) {
        return cache + "/edgemoe";
    }
    const std::string home = absolute_path("HOME");
    return home.empty() ? "" : home + "/.cache/edgemoe";
}

}  // namespace edgemoe
