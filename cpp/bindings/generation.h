// One edgemoe_generate on a thread of its own, and the text that it has made so far.
#pragma once

#include "params.h"

#include <edgemoe/edgemoe.hpp>

#include <pybind11/pybind11.h>

#include <atomic>
#include <condition_variable>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

namespace edgemoe::bindings {

// The queue has no bound: the engine never waits for the reader, and other calls on the model wait for the engine only.
// Thread-safe; its public functions are called with the GIL held.
class Generation {
public:
    // Begins to generate. Keeps the model alive until the generation has ended.
    Generation(std::shared_ptr<client::Model> model, std::string prompt, GenerateParams params);
    Generation(const Generation &) = delete;
    Generation & operator=(const Generation &) = delete;
    // Cancels and joins.
    ~Generation();

    // The next piece of text, None after the last. Waits; a signal whose handler raises cancels, joins and raises.
    // A failure of the engine is thrown once, after the pieces that came before it.
    pybind11::object next();

    // Stops generating and waits until it has stopped. What was generated before is still to be had from next().
    void cancel();

    // "length", "end", "text", "context" or "cancelled"; None while it runs or if it failed.
    std::optional<std::string> stop_reason();

private:
    void run(std::shared_ptr<client::Model> model, const std::string & prompt, const GenerateParams & params);
    void stop_and_join();  // without the GIL

    std::weak_ptr<client::Model> model_;
    std::atomic<bool> stop_{false};

    std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<std::string> pieces_;             // guarded by mutex_
    bool ended_ = false;                         // guarded by mutex_; the rest of this group is final once it is true
    std::exception_ptr failure_;                 // guarded by mutex_
    std::optional<edgemoe_stop_reason> reason_;  // guarded by mutex_

    std::mutex join_mutex_;  // taken before mutex_
    std::thread worker_;     // guarded by join_mutex_; last: it uses all of the above
};

}  // namespace edgemoe::bindings
