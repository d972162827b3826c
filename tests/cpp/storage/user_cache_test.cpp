#include "storage/user_cache.h"

#include <doctest/doctest.h>

#include <cstdlib>
#include <optional>
#include <string>

namespace edgemoe::test {
namespace {

// Sets (or, with nullptr, unsets) a variable until it is destroyed.
class Variable {
public:
    Variable(const char * name, const char * value) : name_(name) {
        const char * before = std::getenv(name);
        if (before != nullptr) {
            before_ = before;
        }
        set(value);
    }
    ~Variable() { set(before_ ? before_->c_str() : nullptr); }
    Variable(const Variable &) = delete;
    Variable & operator=(const Variable &) = delete;

private:
    void set(const char * value) {
        if (value != nullptr) {
            ::setenv(name_, value, 1);
        } else {
            ::unsetenv(name_);
        }
    }
    const char * name_;
    std::optional<std::string> before_;
};

}  // namespace

TEST_CASE("TheCacheFolderIsWhereTheDesktopSpecificationPutsIt") {
    const Variable home("HOME", "/home/somebody");
    {
        const Variable cache("XDG_CACHE_HOME", "/var/tmp/cache");
        CHECK(user_cache_folder() == "/var/tmp/cache/edgemoe");
    }
    for (const char * unusable : {static_cast<const char *>(nullptr), "", "relative/path"}) {
        const Variable cache("XDG_CACHE_HOME", unusable);
        CHECK(user_cache_folder() == "/home/somebody/.cache/edgemoe");
        const Variable nowhere("HOME", nullptr);
        CHECK(user_cache_folder().empty());
    }
}

}  // namespace edgemoe::test
