#include "engine/log.h"

#include "llama.h"

#include <mutex>

namespace edgemoe {

namespace {

std::mutex log_mutex;
LogCallback log_callback = nullptr;  // guarded by log_mutex
void * log_user_data = nullptr;      // guarded by log_mutex
thread_local ErrorCapture * innermost_capture = nullptr;

LogLevel level_of(ggml_log_level level) {
    switch (level) {
        case GGML_LOG_LEVEL_ERROR:
            return LogLevel::kError;
        case GGML_LOG_LEVEL_WARN:
            return LogLevel::kWarn;
        case GGML_LOG_LEVEL_INFO:
            return LogLevel::kInfo;
        default:
            return LogLevel::kDebug;
    }
}

}  // namespace

void capture_error(const char * text) {
    if (innermost_capture != nullptr) {
        innermost_capture->text_ += text;
    }
}

namespace {

void receive(ggml_log_level level, const char * text, void *) {
    if (level == GGML_LOG_LEVEL_ERROR) {
        capture_error(text);
    }
    LogCallback callback = nullptr;
    void * user_data = nullptr;
    {
        std::lock_guard<std::mutex> lock(log_mutex);
        callback = log_callback;
        user_data = log_user_data;
    }
    if (callback != nullptr) {  // outside the lock: it may take locks of its own
        callback(level_of(level), text, user_data);
    }
}

}  // namespace

void set_log_callback(LogCallback callback, void * user_data) {
    std::lock_guard<std::mutex> lock(log_mutex);
    log_callback = callback;
    log_user_data = user_data;
}

void initialize_log() {
    static std::once_flag once;
    std::call_once(once, [] { llama_log_set(receive, nullptr); });
}

ErrorCapture::ErrorCapture() : outer_(innermost_capture) {
    innermost_capture = this;
}
ErrorCapture::~ErrorCapture() {
    innermost_capture = outer_;
}

std::string ErrorCapture::first() const {
    std::string line = text_.substr(0, text_.find('\n'));
    const size_t colon = line.find(": ");
    if (colon != std::string::npos && line.find(' ') > colon) {
        line.erase(0, colon + 2);  // "function_name: what happened"
    }
    return line;
}

}  // namespace edgemoe
