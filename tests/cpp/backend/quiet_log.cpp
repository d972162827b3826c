// ggml reports every interleaved matrix to stderr unless it is told not to.
#include "ggml.h"

namespace {

struct QuietLog {
    QuietLog() {
        ggml_log_set([](ggml_log_level, const char *, void *) {}, nullptr);
    }
} const quiet_log;

}  // namespace
