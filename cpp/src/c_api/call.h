// What every function of the C API does around its engine call: check arguments, copy option structs, turn a Status or
// an exception into a code and a message.
#pragma once

#include "base/status.h"
#include "cpu/cpu_variant.h"
#include "edgemoe/edgemoe.h"
#include "engine/job_progress.h"
#include "engine/load_options.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <initializer_list>
#include <new>
#include <string>

namespace edgemoe::capi {

// Fills in `error` (may be NULL) and returns its code.
edgemoe_code report(const Status & status, edgemoe_error * error);

struct Argument {
    const void * value;
    const char * name;
};

// kInvalidArgument, naming the first argument that is NULL.
Status need(std::initializer_list<Argument> arguments);

// Fails if no kernel of this build may run. Maps whatever `call` throws or returns to a code: nothing passes the C API.
// `needed`: arguments that must not be NULL.
template <typename Call>
edgemoe_code guard(edgemoe_error * error, std::initializer_list<Argument> needed, Call && call) {
    try {
        Status status = cpu_variant_status();
        status = status.is_ok() ? need(needed) : status;
        return report(status.is_ok() ? call() : status, error);
    } catch (const std::bad_alloc &) {
        return report(Status(StatusCode::kOutOfBudget, "out of memory"), error);
    } catch (const std::exception & exception) {
        return report(Status(StatusCode::kInternal, exception.what()), error);
    } catch (...) {
        return report(Status(StatusCode::kInternal, "unknown exception"), error);
    }
}

// A copy of `given` in which fields that an older caller does not have keep their defaults.
template <typename Params>
Status take_params(const Params * given, void (*init)(Params *), Params * params) {
    init(params);
    if (given == nullptr) {
        return Status::ok();
    }
    if (given->struct_size < sizeof(size_t) || given->struct_size > sizeof(Params)) {
        return Status(
            StatusCode::kInvalidArgument,
            "struct_size is not set: call the _init function first (or the caller is newer than the library)");
    }
    std::memcpy(params, given, given->struct_size);
    return Status::ok();
}

// Copies as many bytes as the caller's struct has, and leaves its struct_size.
template <typename Record>
Status give_record(const Record & record, Record * out) {
    const size_t size = out->struct_size;
    if (size < sizeof(size_t) || size > sizeof(Record)) {
        return Status(
            StatusCode::kInvalidArgument,
            "struct_size is not set: call the _init function first (or the caller is newer than the library)");
    }
    std::memcpy(out, &record, size);
    out->struct_size = size;
    return Status::ok();
}

// A copy that the caller frees: `size` values at *out, and a zero behind them.
template <typename Value>
Status give_array(const Value * data, size_t size, Value ** out, size_t * out_size) {
    auto * copy = static_cast<Value *>(std::malloc((size + 1) * sizeof(Value)));
    if (copy == nullptr) {
        return Status(StatusCode::kOutOfBudget, "out of memory");
    }
    std::copy(data, data + size, copy);
    copy[size] = Value();
    *out = copy;
    *out_size = size;
    return Status::ok();
}

inline Status give_text(const std::string & text, edgemoe_text * out) {
    return give_array(text.data(), text.size(), &out->data, &out->size);
}

// The load options that `given` (NULL: the defaults) means; kInvalidArgument for values that are out of range.
Status load_options(const edgemoe_load_params * given, LoadOptions * options);

// The same for a job: what it reads is not what a user will, so nothing is forecast or remembered.
Status job_load_options(const edgemoe_load_params * given, LoadOptions * options);

// Empty for NULL.
JobProgress job_progress(edgemoe_job_callback callback, void * user_data);

}  // namespace edgemoe::capi
