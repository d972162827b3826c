// A loaded model. No call into the library is made with the GIL held, so that its threads may log meanwhile.
#include "generation.h"
#include "interruptible.h"
#include "params.h"
#include "register.h"

#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace edgemoe::bindings {

namespace py = pybind11;

namespace {

using TokenArray = py::array_t<std::int32_t, py::array::c_style>;

// Frees without the GIL, on whichever thread the last owner is: freeing joins threads that may be logging.
struct Free {
    void operator()(client::Model * model) const {
        std::optional<py::gil_scoped_release> released;
        if (PyGILState_Check() != 0) {
            released.emplace();
        }
        delete model;
    }
};

// Calls in flight share the model, so close() cannot free it under them: the last of them does.
class Model {
public:
    explicit Model(std::shared_ptr<client::Model> model) : model_(std::move(model)), n_vocab_(model_->info().n_vocab) {}
    Model(const Model &) = delete;
    Model & operator=(const Model &) = delete;
    ~Model() { close(); }

    void close() {
        const std::shared_ptr<client::Model> model = std::exchange(model_, nullptr);
        if (model && model.use_count() > 1) {
            model->cancel();
        }
    }
    bool is_closed() const { return !model_; }
    std::int32_t n_vocab() const { return n_vocab_; }

    std::shared_ptr<client::Model> share() const {
        if (!model_) {
            throw py::value_error("the model is closed");
        }
        return model_;
    }
    CallThread & calls() const { return calls_; }

private:
    std::shared_ptr<client::Model> model_;  // guarded by the GIL
    std::int32_t n_vocab_;
    mutable CallThread calls_;
};

std::unique_ptr<Model> load(const std::string & path, const LoadParams & params, const py::object & progress) {
    std::shared_ptr<client::Model> loaded;
    std::atomic<float> fraction{0.0F};
    std::atomic<bool> stop{false};
    float reported = -1.0F;
    const auto report = [&] {
        const float now = fraction;
        if (!progress.is_none() && now != reported) {
            reported = now;
            stop = stop || progress(now).is(py::bool_(false));
        }
    };
    const LoadParams own = params;
    CallThread().run(
        [&] {
            client::Model model = client::Model::load(path, own.borrow(), [&](float now) {
                fraction = now;
                return !stop.load();
            });
            loaded = std::shared_ptr<client::Model>(new client::Model(std::move(model)), Free());
        },
        [&] { stop = true; }, report);
    report();
    return std::make_unique<Model>(std::move(loaded));
}

py::dict inspect(const std::string & path, const LoadParams & params) {
    const LoadParams own = params;
    std::optional<client::Description> description;
    {
        const py::gil_scoped_release released;
        description.emplace(path, own.borrow());
    }
    py::dict record = to_dict(description->info());
    record["expert_types"] = to_list(description->types());
    py::dict packed;
    for (const auto & [name, value] : description->packed()) {
        packed[to_str(name)] = to_str(value);
    }
    record["packed"] = packed;
    return record;
}

py::dict info(const Model & self) {
    const std::shared_ptr<client::Model> model = self.share();
    edgemoe_model_info values;
    {
        const py::gil_scoped_release released;
        values = model->info();
    }
    return to_dict(values);
}

py::dict stats(const Model & self) {
    const std::shared_ptr<client::Model> model = self.share();
    edgemoe_stats values;
    {
        const py::gil_scoped_release released;
        values = model->stats();
    }
    return to_dict(values);
}

py::list forecast_recall(const Model & self) {
    const std::shared_ptr<client::Model> model = self.share();
    std::vector<edgemoe_layer_recall> rows;
    {
        const py::gil_scoped_release released;
        rows = model->forecast_recall();
    }
    py::list records;
    for (const edgemoe_layer_recall & row : rows) {
        py::dict record;
        record["layer"] = row.layer;
        record["distance"] = row.distance;
        record["n_chosen"] = row.n_chosen;
        record["n_named"] = row.n_named;
        records.append(record);
    }
    return records;
}

std::vector<std::int32_t> tokenize(const Model & self, const std::string & text, bool add_special, bool parse_special) {
    const std::shared_ptr<client::Model> model = self.share();
    const py::gil_scoped_release released;
    return model->tokenize(text, add_special, parse_special);
}

py::bytes detokenize(const Model & self, const TokenArray & tokens, bool special) {
    const std::shared_ptr<client::Model> model = self.share();
    const std::int32_t * data = tokens.data();
    const auto n_tokens = static_cast<std::size_t>(tokens.size());
    std::string text;
    {
        const py::gil_scoped_release released;
        text = model->detokenize(data, n_tokens, special);
    }
    return text;
}

py::str apply_chat_template(const Model & self, const std::vector<std::pair<std::string, std::string>> & messages,
                            bool add_assistant) {
    const std::shared_ptr<client::Model> model = self.share();
    std::string text;
    {
        const py::gil_scoped_release released;
        std::vector<client::Message> converted;
        for (const auto & [role, content] : messages) {
            converted.push_back({role, content});
        }
        text = model->apply_chat_template(converted, add_assistant);
    }
    return to_str(text);
}

void reset(const Model & self, std::int32_t sequence) {
    const std::shared_ptr<client::Model> model = self.share();
    const py::gil_scoped_release released;
    model->reset(sequence);
}

void decode(const Model & self, const TokenArray & tokens, const std::optional<TokenArray> & sequences,
            std::optional<py::array_t<float, py::array::c_style>> logits) {
    const std::shared_ptr<client::Model> model = self.share();
    if (sequences && sequences->size() != tokens.size()) {
        throw py::value_error("sequences: one number per token is needed");
    }
    if (logits && logits->size() != tokens.size() * self.n_vocab()) {
        throw py::value_error("logits: the array's shape is not [n_tokens, n_vocab]");
    }
    const std::int32_t * token_data = tokens.data();
    const std::int32_t * sequence_data = sequences ? sequences->data() : nullptr;
    const auto n_tokens = static_cast<std::size_t>(tokens.size());
    float * logits_data = logits ? logits->mutable_data() : nullptr;
    self.calls().run([&] { model->decode(token_data, sequence_data, n_tokens, logits_data); },
                     [&] { model->cancel(); });
}

void start_recording(const Model & self, const std::string & path) {
    const std::shared_ptr<client::Model> model = self.share();
    const py::gil_scoped_release released;
    model->start_recording(path);
}

void stop_recording(const Model & self) {
    const std::shared_ptr<client::Model> model = self.share();
    const py::gil_scoped_release released;
    model->stop_recording();
}

std::unique_ptr<Generation> generate(const Model & self, std::string prompt, const GenerateParams & params) {
    return std::make_unique<Generation>(self.share(), std::move(prompt), params);
}

}  // namespace

void register_model(py::module_ & module) {
    py::class_<Model>(module, "Model", "A loaded model; edgemoe.Model is what to use.")
        .def(py::init(&load), py::arg("path"), py::arg("params"), py::arg("progress") = py::none())
        .def("close", &Model::close)
        .def_property_readonly("closed", &Model::is_closed)
        .def("info", &info)
        .def("stats", &stats)
        .def("forecast_recall", &forecast_recall)
        .def("tokenize", &tokenize, py::arg("text"), py::arg("add_special"), py::arg("parse_special"))
        .def("detokenize", &detokenize, py::arg("tokens").noconvert(), py::arg("special"))
        .def("apply_chat_template", &apply_chat_template, py::arg("messages"), py::arg("add_assistant"))
        .def("reset", &reset, py::arg("sequence"))
        .def("decode", &decode, py::arg("tokens").noconvert(), py::arg("sequences").none(true).noconvert(),
             py::arg("logits").none(true).noconvert())
        .def("generate", &generate, py::arg("prompt"), py::arg("params"))
        .def("start_recording", &start_recording, py::arg("path"))
        .def("stop_recording", &stop_recording)
        .def("cancel", [](const Model & self) { self.share()->cancel(); });
    module.def("inspect", &inspect, py::arg("path"), py::arg("params"));
}

}  // namespace edgemoe::bindings
