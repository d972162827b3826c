/* Checks that end the test and say where. CHECK_OK wants an `edgemoe_error error`. */
#ifndef EDGEMOE_TESTS_C_CHECK_H
#define EDGEMOE_TESTS_C_CHECK_H

#include "edgemoe/edgemoe.h"

#include <stdio.h>
#include <stdlib.h>

#define CHECK(condition)                                                            \
    do {                                                                            \
        if (!(condition)) {                                                         \
            fprintf(stderr, "%s:%d: failed: %s\n", __FILE__, __LINE__, #condition); \
            exit(1);                                                                \
        }                                                                           \
    } while (0)

static inline void check_ok(edgemoe_code code, const edgemoe_error * error, int line) {
    if (code != EDGEMOE_OK) {
        fprintf(stderr, "line %d: code %d: %s\n", line, (int)code, error->message);
        exit(1);
    }
}
#define CHECK_OK(call) check_ok((call), &error, __LINE__)

#endif
