// Invariants: the worker touches no Python object; the GIL is never taken or awaited under mutex_; pieces_ only grows
// while ended_ is false.
#include "generation.h"

#include "interruptible.h"
#include "register.h"

#include <pybind11/stl.h>

#include <utility>
#include <vector>

namespace edgemoe::bindings {

namespace py = pybind11;

Generation::Generation(std::shared_ptr<client::Model> model, std::string prompt, GenerateParams params)
    : model_(model),
      worker_([this, model = std::move(model), prompt = std::move(prompt), params = std::move(params)]() mutable {
          run(std::move(model), prompt, params);
      }) {}

Generation::~Generation() {
    const py::gil_scoped_release released;
    stop_and_join();
}

void Generation::run(std::shared_ptr<client::Model> model, const std::string & prompt, const GenerateParams & params) {
    std::exception_ptr failure;
    std::optional<edgemoe_stop_reason> reason;
    try {
        std::vector<const char *> stop;
        for (const std::string & text : params.stop) {
            stop.push_back(text.c_str());
        }
        edgemoe_generate_params values = params.values;
        values.stop = stop.data();
        values.n_stop = stop.size();
        reason = stop_ ? EDGEMOE_STOP_CANCELLED : model->generate(prompt, values, [this](std::string_view text) {
            if (!text.empty()) {
                const std::lock_guard<std::mutex> lock(mutex_);
                pieces_.emplace_back(text);
                changed_.notify_all();
            }
            return !stop_;
        });
    } catch (...) {
        failure = std::current_exception();
    }
    model.reset();  // before the end is told: who has seen it may rely on the model being free
    const std::lock_guard<std::mutex> lock(mutex_);
    failure_ = failure;
    reason_ = reason;
    ended_ = true;
    changed_.notify_all();
}

void Generation::stop_and_join() {
    const std::lock_guard<std::mutex> joining(join_mutex_);
    if (!worker_.joinable()) {
        return;
    }
    stop_ = true;
    std::unique_lock<std::mutex> lock(mutex_);
    while (!ended_) {
        lock.unlock();
        // Again and again: generate may not have begun to listen when the first request came.
        if (const std::shared_ptr<client::Model> model = model_.lock()) {
            model->cancel();
        }
        lock.lock();
        changed_.wait_for(lock, kSignalPeriod, [this] { return ended_; });
    }
    lock.unlock();
    worker_.join();
}

py::object Generation::next() {
    std::optional<std::string> piece;
    std::exception_ptr failure;
    std::optional<py::error_already_set> raised;
    {
        const py::gil_scoped_release released;
        std::unique_lock<std::mutex> lock(mutex_);
        while (!raised && !changed_.wait_for(lock, kSignalPeriod, [this] { return ended_ || !pieces_.empty(); })) {
            lock.unlock();
            raised = look_for_signals();
            lock.lock();
        }
        if (raised) {
            lock.unlock();
            stop_and_join();
        } else if (!pieces_.empty()) {
            piece = std::move(pieces_.front());
            pieces_.pop_front();
        } else {
            failure = std::exchange(failure_, nullptr);
        }
    }
    if (raised) {
        throw std::move(*raised);
    }
    if (failure) {
        std::rethrow_exception(failure);
    }
    if (!piece) {
        return py::none();
    }
    return to_str(*piece);
}

void Generation::cancel() {
    const py::gil_scoped_release released;
    stop_and_join();
}

std::optional<std::string> Generation::stop_reason() {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!reason_) {
        return std::nullopt;
    }
    switch (*reason_) {
        case EDGEMOE_STOP_LENGTH:
            return "length";
        case EDGEMOE_STOP_END:
            return "end";
        case EDGEMOE_STOP_TEXT:
            return "text";
        case EDGEMOE_STOP_CONTEXT:
            return "context";
        case EDGEMOE_STOP_CANCELLED:
            return "cancelled";
    }
    return "unknown";
}

void register_generation(py::module_ & module) {
    py::class_<Generation>(module, "Generation", "A generation that runs on a thread of its own; see Model.generate.")
        .def("next", &Generation::next, "The next piece of text; None after the last.")
        .def("cancel", &Generation::cancel, "Stops it and waits until it has stopped.")
        .def_property_readonly("stop_reason", &Generation::stop_reason);
}

}  // namespace edgemoe::bindings
