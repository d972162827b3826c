// The file:
//   0      Header, written again with each advance(); then the encoded LayerFacts of each layer, kFactsBytes each
//   then   for each layer, aligned to kAlignment: inputs, scales, ids, weights of all tokens
// Invariant: what the header on disk says is written was on disk before it.
#include "engine/activation_spill.h"

#include "base/checked.h"
#include "engine/memory_plan.h"
#include "engine/model_identity.h"

#include "ggml.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <filesystem>

namespace edgemoe {

namespace {

constexpr uint64_t kMagic = 0x315f4c4c49505345;  // "ESPILL_1"
constexpr uint64_t kAlignment = 4096;
constexpr uint64_t kFactsBytes = 8192;
constexpr uint64_t kDiskReserveBytes = uint64_t{64} << 20;  // left free beside the file
constexpr std::chrono::seconds kSyncPeriod{3};
constexpr float kLargestHalf = 60000.0F;

struct Header {
    uint64_t magic = kMagic;
    uint64_t fingerprint = 0;  // of the shape, its own fingerprint included
    int64_t n_written = 0;
};

uint64_t fingerprint_of(const SpillShape & shape) {
    uint64_t state = fnv1a(kFnvStart, &shape.fingerprint, sizeof(shape.fingerprint));
    state = fnv1a(state, &shape.n_tokens, sizeof(shape.n_tokens));
    for (const SpillLayer & layer : shape.layers) {
        const int32_t numbers[] = {layer.layer, layer.columns, layer.n_experts, layer.n_used};
        state = fnv1a(state, numbers, sizeof(numbers));
    }
    return state;
}

// Where the parts of a layer begin, from the layer's own beginning.
struct Parts {
    uint64_t scales, ids, weights, end;
};

Parts parts_of(const SpillLayer & layer, int64_t n_tokens) {
    const auto n = static_cast<uint64_t>(n_tokens);
    const auto columns = static_cast<uint64_t>(layer.columns), n_used = static_cast<uint64_t>(layer.n_used);
    Parts parts{};
    parts.scales = align_up(n * columns * sizeof(uint16_t), kAlignment);
    parts.ids = parts.scales + align_up(n * sizeof(float), kAlignment);
    parts.weights = parts.ids + align_up(n * n_used * sizeof(int16_t), kAlignment);
    parts.end = parts.weights + align_up(n * n_used * sizeof(float), kAlignment);
    return parts;
}

uint64_t header_bytes(const SpillShape & shape) {
    return align_up(sizeof(Header), kAlignment) + shape.layers.size() * kFactsBytes;
}

uint64_t facts_offset(size_t layer) {
    return align_up(sizeof(Header), kAlignment) + layer * kFactsBytes;
}

std::string folder_of(const std::string & path) {
    const std::string folder = std::filesystem::path(path).parent_path().string();
    return folder.empty() ? "." : folder;
}

std::vector<uint8_t> encode(const LayerFacts & facts) {
    std::vector<uint8_t> bytes = {static_cast<uint8_t>(facts.seen), static_cast<uint8_t>(facts.weights_before_experts)};
    const std::vector<uint8_t> chain = facts.chain.encode();
    bytes.insert(bytes.end(), chain.begin(), chain.end());
    return bytes;
}

}  // namespace

void LayerActivations::decode(const std::vector<int32_t> & tokens, float * rows) const {
    const auto columns = static_cast<size_t>(shape.columns);
    for (size_t i = 0; i < tokens.size(); i++) {
        const auto token = static_cast<size_t>(tokens[i]);
        float * row = rows + i * columns;
        ggml_fp16_to_fp32_row(inputs.data() + token * columns, row, shape.columns);
        if (scales[token] != 1.0F) {
            for (size_t c = 0; c < columns; c++) {
                row[c] *= scales[token];
            }
        }
    }
}

uint64_t ActivationSpill::size_bytes(const SpillShape & shape) {
    uint64_t bytes = header_bytes(shape);
    for (const SpillLayer & layer : shape.layers) {
        bytes += parts_of(layer, shape.n_tokens).end;
    }
    return bytes;
}

ActivationSpill::ActivationSpill(std::string path, SpillShape shape)
    : path_(std::move(path)), shape_(std::move(shape)), facts_(shape_.layers.size()) {
    uint64_t offset = header_bytes(shape_);
    for (const SpillLayer & layer : shape_.layers) {
        offsets_.push_back(offset);
        offset += parts_of(layer, shape_.n_tokens).end;
    }
}

ActivationSpill::~ActivationSpill() {
    if (fd_ >= 0) {
        ::close(fd_);
    }
}

Result<std::unique_ptr<ActivationSpill>> ActivationSpill::open(const std::string & path, const SpillShape & shape) {
    std::unique_ptr<ActivationSpill> spill(new ActivationSpill(path, shape));
    if (!spill->reuse_file()) {
        const Status status = spill->create_file();
        if (!status.is_ok()) {
            return status;
        }
    }
    return spill;
}

// A file of the same shape goes on where it ended.
bool ActivationSpill::reuse_file() {
    fd_ = ::open(path_.c_str(), O_RDWR | O_CLOEXEC);
    struct stat info = {};
    Header header;
    bool usable = fd_ >= 0 && ::fstat(fd_, &info) == 0 && static_cast<uint64_t>(info.st_size) == size_bytes(shape_) &&
                  read_at(&header, sizeof(header), 0).is_ok() && header.magic == kMagic &&
                  header.fingerprint == fingerprint_of(shape_) && header.n_written >= 0 &&
                  header.n_written <= shape_.n_tokens;
    for (size_t layer = 0; layer < facts_.size() && usable; layer++) {
        std::vector<uint8_t> bytes(kFactsBytes);
        usable = read_at(bytes.data(), bytes.size(), facts_offset(layer)).is_ok();
        if (usable && bytes[0] != 0) {
            Result<ActivationChain> chain = ActivationChain::decode(bytes.data() + 2, bytes.size() - 2);
            usable = chain.is_ok();
            if (usable) {
                facts_[layer] = {true, bytes[1] != 0, std::move(chain).value()};
            }
        }
    }
    if (!usable) {
        facts_.assign(facts_.size(), {});
        if (fd_ >= 0) {
            ::close(fd_);
            fd_ = -1;
        }
        return false;
    }
    n_written_ = header.n_written;
    return true;
}

Status ActivationSpill::create_file() {
    ::unlink(path_.c_str());
    const uint64_t bytes = size_bytes(shape_);
    struct statvfs disk = {};
    if (::statvfs(folder_of(path_).c_str(), &disk) == 0) {
        const uint64_t free_bytes = static_cast<uint64_t>(disk.f_bavail) * disk.f_frsize;
        if (free_bytes < kDiskReserveBytes || free_bytes - kDiskReserveBytes < bytes) {
            return Status(StatusCode::kIo, path_ + ": the activations of " + std::to_string(shape_.n_tokens) +
                                               " tokens take " + mebibytes(bytes) + ", of which " +
                                               mebibytes(free_bytes) +
                                               " are free; use fewer tokens, or another folder for the activations");
        }
    }
    fd_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd_ < 0) {
        return Status(StatusCode::kIo, path_ + ": cannot be created: " + std::strerror(errno));
    }
    // All of it now, so that the disk cannot become full half way.
    const int error = ::posix_fallocate(fd_, 0, static_cast<off_t>(bytes));
    if (error != 0) {
        ::unlink(path_.c_str());
        return Status(StatusCode::kIo,
                      path_ + ": no room for " + mebibytes(bytes) + " of activations: " + std::strerror(error));
    }
    return advance(0);
}

Status ActivationSpill::set_facts(size_t layer, const LayerFacts & facts) {
    const std::vector<uint8_t> bytes = encode(facts);
    if (bytes.size() > kFactsBytes) {
        return Status(StatusCode::kInternal, "the description of an activation takes too many bytes");
    }
    facts_[layer] = facts;
    return write_at(bytes.data(), bytes.size(), facts_offset(layer));
}

Status ActivationSpill::write(size_t layer, int64_t first, int64_t n, const float * inputs, const int16_t * ids,
                              const float * weights) {
    const SpillLayer & shape = shape_.layers[layer];
    const Parts parts = parts_of(shape, shape_.n_tokens);
    const auto columns = static_cast<size_t>(shape.columns), n_used = static_cast<size_t>(shape.n_used);
    const auto begin = static_cast<uint64_t>(first), count = static_cast<uint64_t>(n);
    std::vector<ggml_fp16_t> halves(count * columns);
    std::vector<float> scales(count, 1.0F), scaled;
    for (size_t token = 0; token < count; token++) {
        const float * row = inputs + token * columns;
        float most = 0;
        for (size_t c = 0; c < columns; c++) {
            most = std::max(most, std::fabs(row[c]));
        }
        if (most > kLargestHalf) {
            scales[token] = std::exp2(std::ceil(std::log2(most / kLargestHalf)));
            scaled.assign(row, row + columns);
            for (float & value : scaled) {
                value /= scales[token];
            }
            row = scaled.data();
        }
        ggml_fp32_to_fp16_row(row, halves.data() + token * columns, shape.columns);
    }
    const uint64_t offset = offsets_[layer];
    const auto put = [&](const void * data, uint64_t row_bytes, uint64_t part) {
        return write_at(data, count * row_bytes, offset + part + begin * row_bytes);
    };
    Status status = put(halves.data(), columns * sizeof(ggml_fp16_t), 0);
    if (status.is_ok()) {
        status = put(scales.data(), sizeof(float), parts.scales);
    }
    if (status.is_ok()) {
        status = put(ids, n_used * sizeof(int16_t), parts.ids);
    }
    return status.is_ok() ? put(weights, n_used * sizeof(float), parts.weights) : status;
}

Status ActivationSpill::advance(int64_t n_written) {
    n_written_ = n_written;
    const auto now = std::chrono::steady_clock::now();
    if (n_written != 0 && !complete() && now - last_sync_ < kSyncPeriod) {
        return Status::ok();
    }
    last_sync_ = now;
    if (::fdatasync(fd_) != 0) {
        return Status(StatusCode::kIo, path_ + ": writing: " + std::strerror(errno));
    }
    Header header;
    header.fingerprint = fingerprint_of(shape_);
    header.n_written = n_written;
    return write_at(&header, sizeof(header), 0);
}

Result<LayerActivations> ActivationSpill::read_routing(size_t layer) const {
    LayerActivations activations;
    activations.shape = shape_.layers[layer];
    activations.facts = facts_[layer];
    activations.n_tokens = n_written_;
    const Parts parts = parts_of(activations.shape, shape_.n_tokens);
    const auto n = static_cast<size_t>(n_written_ * activations.shape.n_used);
    activations.ids.resize(n);
    activations.weights.resize(n);
    Status status = read_at(activations.ids.data(), n * sizeof(int16_t), offsets_[layer] + parts.ids);
    if (status.is_ok()) {
        status = read_at(activations.weights.data(), n * sizeof(float), offsets_[layer] + parts.weights);
    }
    if (status.is_ok() && !facts_[layer].seen) {
        std::fill(activations.ids.begin(), activations.ids.end(), int16_t{-1});
    }
    for (int16_t id : activations.ids) {
        if (id < -1 || id >= activations.shape.n_experts) {
            return Status(StatusCode::kFormat, path_ + ": is damaged; delete it");
        }
    }
    return status.is_ok() ? Result<LayerActivations>(std::move(activations)) : Result<LayerActivations>(status);
}

Result<LayerActivations> ActivationSpill::read_layer(size_t layer) const {
    Result<LayerActivations> routing = read_routing(layer);
    if (!routing.is_ok()) {
        return routing;
    }
    LayerActivations & activations = routing.value();
    const Parts parts = parts_of(activations.shape, shape_.n_tokens);
    const auto n = static_cast<size_t>(n_written_);
    activations.inputs.resize(n * static_cast<size_t>(activations.shape.columns));
    activations.scales.resize(n);
    Status status = read_at(activations.inputs.data(), activations.inputs.size() * sizeof(uint16_t), offsets_[layer]);
    if (status.is_ok()) {
        status = read_at(activations.scales.data(), n * sizeof(float), offsets_[layer] + parts.scales);
    }
    return status.is_ok() ? std::move(routing) : Result<LayerActivations>(status);
}

void ActivationSpill::remove(const std::string & path) {
    ::unlink(path.c_str());
}

Status ActivationSpill::write_at(const void * data, uint64_t bytes, uint64_t offset) {
    for (uint64_t done = 0; done < bytes;) {
        const ssize_t n =
            ::pwrite(fd_, static_cast<const char *>(data) + done, bytes - done, static_cast<off_t>(offset + done));
        if (n < 0 && errno != EINTR) {
            return Status(StatusCode::kIo,
                          path_ + ": writing at offset " + std::to_string(offset + done) + ": " + std::strerror(errno));
        }
        done += n > 0 ? static_cast<uint64_t>(n) : 0;
    }
    return Status::ok();
}

Status ActivationSpill::read_at(void * data, uint64_t bytes, uint64_t offset) const {
    for (uint64_t done = 0; done < bytes;) {
        const ssize_t n =
            ::pread(fd_, static_cast<char *>(data) + done, bytes - done, static_cast<off_t>(offset + done));
        if (n == 0 || (n < 0 && errno != EINTR)) {
            return Status(StatusCode::kIo, path_ + ": reading at offset " + std::to_string(offset + done) + ": " +
                                               (n == 0 ? "unexpected end of file" : std::strerror(errno)));
        }
        done += n > 0 ? static_cast<uint64_t>(n) : 0;
    }
    return Status::ok();
}

}  // namespace edgemoe
