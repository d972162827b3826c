#include "engine/packed_writer.h"

#include "engine/packed_format.h"
#include "storage/crc32c.h"
#include "storage/direct_read.h"

#include <sys/stat.h>

#include <algorithm>
#include <cassert>
#include <utility>

namespace edgemoe {

namespace {

constexpr uint64_t kCopyBytes = 4 << 20;

bool same_file(const std::string & a, const std::string & b) {
    struct stat first = {};
    struct stat second = {};
    return ::stat(a.c_str(), &first) == 0 && ::stat(b.c_str(), &second) == 0 && first.st_dev == second.st_dev &&
           first.st_ino == second.st_ino;
}

}  // namespace

Result<uint64_t> packed_file_bytes(const GgufSource & source, const PackedTypes & types,
                                   const std::vector<GgufKeyValue> & extra, const ExpertMaps * maps) {
    Result<PackedLayout> layout = PackedLayout::create(source, types, extra, maps);
    if (!layout.is_ok()) {
        return layout.status();
    }
    return layout.value().file_bytes();
}

Result<std::unique_ptr<PackedWriter>> PackedWriter::create(const GgufSource & source, const std::string & path,
                                                           const PackedTypes & types,
                                                           const std::vector<GgufKeyValue> & extra,
                                                           const ExpertMaps * maps) {
    for (const auto & file : source.files()) {
        if (same_file(file->path(), path)) {
            return Status(StatusCode::kInvalidArgument,
                          path + ": is the model that is to be packed; give the packed file another name");
        }
    }
    Result<PackedLayout> layout = PackedLayout::create(source, types, extra, maps);
    if (!layout.is_ok()) {
        return layout.status();
    }
    Result<std::unique_ptr<OutputFile>> file = OutputFile::create(path, layout.value().file_bytes());
    if (!file.is_ok()) {
        return file.status();
    }
    std::unique_ptr<PackedWriter> writer(new PackedWriter(source, std::move(layout).value(), maps));
    writer->file_ = std::move(file).value();
    writer->written_.resize(writer->layout_.n_matrices());
    writer->checksums_.resize(writer->layout_.n_matrices());
    return writer;
}

PackedWriter::~PackedWriter() = default;

const std::string & PackedWriter::temporary_path() const {
    return file_->temporary_path();
}

Status PackedWriter::write_hot(const std::function<bool(uint64_t)> & progress) {
    std::vector<std::byte> buffer;
    for (size_t i = 0; i < layout_.hot().size(); i++) {
        const PackedLayout::Place & place = layout_.hot()[i];
        const GgufSource::Tensor & tensor = source_.tensors()[i];
        for (uint64_t done = 0; done < place.bytes;) {
            buffer.resize(std::min(kCopyBytes, place.bytes - done));
            Status status =
                read_past_page_cache(*source_.files()[tensor.file], tensor.offset + done, buffer.size(), buffer.data());
            if (status.is_ok()) {
                status = file_->write(place.offset + done, buffer.data(), buffer.size());
            }
            if (!status.is_ok()) {
                return Status(status.code(), status.message() + " (tensor " + tensor.name + ")");
            }
            done += buffer.size();
            if (progress && !progress(buffer.size())) {
                return Status(StatusCode::kCancelled, file_->path() + ": packing was stopped");
            }
        }
    }
    for (size_t i = 0; i < layout_.maps().size(); i++) {
        const PackedLayout::Place & place = layout_.maps()[i];
        const Status status = file_->write(place.offset, maps_->layers[i].weights.data(), place.bytes);
        if (!status.is_ok()) {
            return status;
        }
    }
    hot_written_ = true;
    return Status::ok();
}

Status PackedWriter::write_expert(ExpertId id, const ExpertBytes & bytes) {
    const PackedLayout::ExpertPlaces * places = layout_.find(id);
    for (size_t p = 0; p < kProjectionCount; p++) {
        const std::string name = packed_tensor_name(id, static_cast<Projection>(p));
        if (places == nullptr || bytes[p].size() != (*places)[p].bytes) {
            return Status(StatusCode::kInternal, file_->path() + ": " + name + ": " + std::to_string(bytes[p].size()) +
                                                     " bytes do not fit its type and place");
        }
        if (bytes[p].empty()) {
            continue;
        }
        const PackedLayout::Place & place = (*places)[p];
        const uint32_t checksum = crc32c(bytes[p].data(), bytes[p].size());
        const Status status = file_->write(place.offset, bytes[p].data(), bytes[p].size());
        if (!status.is_ok()) {
            return Status(status.code(), status.message() + " (tensor " + name + ")");
        }
        const std::lock_guard<std::mutex> lock(mutex_);
        checksums_[place.matrix] = checksum;
        written_[place.matrix] = true;
    }
    return Status::ok();
}

void PackedWriter::set_results(const PackedResults & results) {
    results_ = results;
}

std::vector<std::byte> PackedWriter::complete_header() {
    GgufHeader & header = layout_.header();
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        header.set({kChecksumsKey, checksums_});
    }
    for (const GgufKeyValue & entry : to_key_values(results_)) {
        header.set(entry);
    }
    std::vector<std::byte> bytes = header.bytes();
    seal_header(&bytes);
    return bytes;
}

Status PackedWriter::seal() {
    size_t n_missing = 0;
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        n_missing = static_cast<size_t>(std::count(written_.begin(), written_.end(), false));
    }
    if (!hot_written_ || n_missing > 0) {
        return Status(StatusCode::kInternal, file_->path() + ": not whole: " + std::to_string(n_missing) +
                                                 " matrices are missing" +
                                                 (hot_written_ ? "" : ", and the hot tensors"));
    }
    const std::vector<std::byte> header = complete_header();
    assert(header.size() == layout_.header_bytes());
    return file_->write(0, header.data(), header.size());
}

Status PackedWriter::finish() {
    const Status status = seal();
    return status.is_ok() ? file_->commit() : status;
}

}  // namespace edgemoe
