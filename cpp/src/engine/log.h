// The log of llama.cpp, ggml and this library, given to one callback; and the errors that llama.cpp only logs, caught
// for messages.
#pragma once

#include <string>

namespace edgemoe {

enum class LogLevel { kDebug = 0, kInfo = 1, kWarn = 2, kError = 3 };
using LogCallback = void (*)(LogLevel level, const char * text, void * user_data);

// Process-wide, because ggml's log is; thread-safe. nullptr silences everything, which is the default.
void set_log_callback(LogCallback callback, void * user_data);

// Takes over the log of llama.cpp and ggml, once per process; thread-safe.
void initialize_log();

// Collects the errors logged by this thread while it lives. Nests.
class ErrorCapture {
public:
    ErrorCapture();
    ~ErrorCapture();
    ErrorCapture(const ErrorCapture &) = delete;
    ErrorCapture & operator=(const ErrorCapture &) = delete;

    // The first error, without the function name in front of it and the newline behind; "" if there was none.
    std::string first() const;

private:
    friend void capture_error(const char * text);
    std::string text_;
    ErrorCapture * outer_;
};

}  // namespace edgemoe
