// JSON that is written: reports for programs.
#pragma once

#include <cstdint>
#include <string>

namespace edgemoe {

std::string quoted(const std::string & text);
// "null" for what is no finite number.
std::string number(double value);

// An object ('{') or array ('['), member by member.
class Json {
public:
    explicit Json(char open) : text_(1, open) {}
    Json & member(const std::string & key, const std::string & json) { return element(quoted(key) + ": " + json); }
    Json & member(const std::string & key, double value) { return member(key, number(value)); }
    Json & member(const std::string & key, uint64_t value) { return member(key, std::to_string(value)); }
    Json & element(const std::string & json) {
        text_ += (text_.size() > 1 ? ", " : "") + json;
        return *this;
    }
    std::string close() const { return text_ + (text_.front() == '{' ? '}' : ']'); }

private:
    std::string text_;
};

}  // namespace edgemoe
