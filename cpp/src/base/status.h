// Errors as values: every function of the core that can fail for a reason other than our own bug
// returns a Status or a Result. Values are immutable after construction and safe to copy between threads.
#pragma once

#include <cassert>
#include <string>
#include <utility>
#include <variant>

namespace edgemoe {

enum class StatusCode {
    kOk = 0,
    kInvalidArgument,  // the caller's value is wrong
    kNotFound,         // a file, split or tensor does not exist
    kFormat,           // a file's content is wrong: truncated, hostile, inconsistent
    kIo,               // the operating system reported an error while reading or writing
    kOutOfBudget,      // the memory figure cannot be met; the message names the least that can
    kCancelled,        // the caller asked to stop
    kUnsupported,      // valid, but this build or machine cannot do it
    kInternal,         // our bug, or an unexplained failure of a library
};

// A code and a message of the form "file: object at place: reason; what to do".
class [[nodiscard]] Status {
public:
    Status() = default;
    Status(StatusCode code, std::string message) : code_(code), message_(std::move(message)) {}

    static Status ok() { return {}; }
    bool is_ok() const { return code_ == StatusCode::kOk; }
    StatusCode code() const { return code_; }
    const std::string & message() const { return message_; }

private:
    StatusCode code_ = StatusCode::kOk;
    std::string message_;
};

// A value, or the Status that explains why there is none. REQUIRES for value(): is_ok().
template <typename T>
class [[nodiscard]] Result {
public:
    Result(T value) : content_(std::move(value)) {}
    Result(Status status) : content_(std::move(status)) {
        assert(!std::get<Status>(content_).is_ok() && "a Result without a value needs a reason");
    }

    bool is_ok() const { return std::holds_alternative<T>(content_); }
    T & value() & { return std::get<T>(content_); }
    const T & value() const & { return std::get<T>(content_); }
    T && value() && { return std::get<T>(std::move(content_)); }
    Status status() const { return is_ok() ? Status::ok() : std::get<Status>(content_); }

private:
    std::variant<T, Status> content_;
};

}  // namespace edgemoe
