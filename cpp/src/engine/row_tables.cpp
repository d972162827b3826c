#include "engine/row_tables.h"

#include "storage/reader_factory.h"

#include "ggml.h"

#include <algorithm>
#include <utility>

namespace edgemoe {

namespace {

constexpr const char * kTokenEmbedding = "token_embd.weight";
constexpr const char * kOutputHead = "output.weight";
constexpr const char * kLayerEmbedding = "per_layer_token_embd.weight";

RowTablePlace place_of(const GgufSource & source, size_t tensor) {
    const GgufSource::Tensor & where = source.tensors()[tensor];
    const ggml_tensor * shape = source.shape(tensor);
    RowTablePlace place;
    place.file = source.files()[where.file].get();
    place.offset = where.offset;
    place.row_bytes = shape->nb[1];
    place.n_rows = shape->ne[1];
    return place;
}

}  // namespace

std::vector<size_t> find_row_tables(const GgufSource & source, Toggle wanted) {
    std::vector<size_t> found;
    if (wanted == Toggle::kOff) {
        return found;
    }
    const auto & tensors = source.tensors();
    const bool own_head = std::any_of(tensors.begin(), tensors.end(),
                                      [](const GgufSource::Tensor & tensor) { return tensor.name == kOutputHead; });
    for (size_t i = 0; i < tensors.size(); i++) {
        const bool gathered = tensors[i].name == kLayerEmbedding || (tensors[i].name == kTokenEmbedding && own_head);
        if (gathered && ggml_n_dims(source.shape(i)) == 2 &&
            (wanted == Toggle::kOn || tensors[i].bytes > kRowWindowBytes)) {
            found.push_back(i);
        }
    }
    return found;
}

std::string exact_pattern(const std::string & name) {
    std::string pattern = "^";
    for (const char c : name) {
        pattern += c == '.' ? "\\." : std::string(1, c);
    }
    return pattern + "$";
}

uint64_t row_table_bytes(const GgufSource & source, const std::vector<size_t> & tensors) {
    uint64_t bytes = 0;
    for (const size_t tensor : tensors) {
        bytes += source.tensors()[tensor].bytes;
    }
    return bytes;
}

uint64_t row_window_bytes(const GgufSource & source, const std::vector<size_t> & tensors) {
    uint64_t bytes = 0;
    for (const size_t tensor : tensors) {
        bytes += RowTable::memory_bytes(place_of(source, tensor), kRowWindowBytes);
    }
    return bytes;
}

Result<std::unique_ptr<RowTables>> RowTables::create(const GgufSource & source, const std::vector<size_t> & tensors,
                                                     const std::string & io) {
    ReaderNeeds needs;
    needs.engine = io == "uring" ? io : "threads";  // a few small reads: nothing to probe for
    needs.files = source.files();
    needs.n_lanes = kRowLanes;
    needs.read_bytes = kDirectAlignment;
    Result<ReaderChoice> reader = make_reader(needs);
    if (!reader.is_ok()) {
        return reader.status();
    }
    std::unique_ptr<RowTables> tables(new RowTables());
    tables->reader_ = std::move(reader.value().reader);
    for (const size_t tensor : tensors) {
        Result<std::unique_ptr<RowTable>> table =
            RowTable::create(place_of(source, tensor), kRowWindowBytes, *tables->reader_);
        if (!table.is_ok()) {
            return table.status();
        }
        tables->tables_[source.tensors()[tensor].name] = std::move(table).value();
    }
    return tables;
}

uint64_t RowTables::read_bytes() const {
    uint64_t bytes = 0;
    for (const auto & [name, table] : tables_) {
        bytes += table->read_bytes();
    }
    return bytes;
}

}  // namespace edgemoe
