#include "engine/virtual_gguf.h"

#include "engine/gguf_header.h"
#include "engine/packed_format.h"
#include "storage/direct_read.h"

#include "gguf.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace edgemoe {

// The C library's view of the stream: fopencookie on glibc and musl, funopen on Android and macOS.
struct StreamFunctions {
    static VirtualGguf & of(void * cookie) { return *static_cast<VirtualGguf *>(cookie); }
#if defined(__APPLE__) || defined(__BIONIC__)
    static int read(void * cookie, char * buffer, int size) {
        return static_cast<int>(of(cookie).read(buffer, static_cast<size_t>(size)));
    }
    static fpos_t seek(void * cookie, fpos_t offset, int whence) {
        return of(cookie).seek(offset, whence);
    }
    static FILE * open(VirtualGguf * gguf) {
        return funopen(gguf, read, nullptr, seek, nullptr);
    }
#else
    static ssize_t read(void * cookie, char * buffer, size_t size) {
        return of(cookie).read(buffer, size);
    }
    static int seek(void * cookie, off64_t * offset, int whence) {
        const int64_t position = of(cookie).seek(*offset, whence);
        *offset = position;
        return position < 0 ? -1 : 0;
    }
    static FILE * open(VirtualGguf * gguf) {
        cookie_io_functions_t functions = {};
        functions.read = read;
        functions.seek = seek;
        return fopencookie(gguf, "rb", functions);
    }
#endif
};

Result<std::unique_ptr<VirtualGguf>> VirtualGguf::create(const GgufSource & source, Content content) {
    std::unique_ptr<VirtualGguf> gguf(new VirtualGguf(source, content));
    gguf->build_header();
    const Status status = gguf->open_stream();
    if (!status.is_ok()) {
        return status;
    }
    return gguf;
}

VirtualGguf::~VirtualGguf() {
    if (stream_ != nullptr) {
        std::fclose(stream_);
    }
}

void VirtualGguf::build_header() {
    Gguf gguf(gguf_init_empty());
    gguf_set_kv(gguf.get(), source_.metadata());
    // The splits are one stream here, and this context places tensors at the default alignment, whatever the files do.
    remove_file_keys(gguf.get());
    for (size_t i = 0; i < source_.tensors().size(); i++) {
        gguf_add_tensor(gguf.get(), source_.shape(i));
    }
    header_.resize(gguf_get_meta_size(gguf.get()));
    gguf_get_meta_data(gguf.get(), header_.data());
    size_bytes_ = header_.size();
    for (size_t i = 0; i < source_.tensors().size(); i++) {
        const uint64_t offset = header_.size() + gguf_get_tensor_offset(gguf.get(), static_cast<int64_t>(i));
        extents_.push_back({offset, i});
        size_bytes_ = std::max(size_bytes_, offset + source_.tensors()[i].bytes);
    }
}

Status VirtualGguf::open_stream() {
    stream_ = StreamFunctions::open(this);
    if (stream_ == nullptr) {
        return Status(StatusCode::kInternal, source_.path() + ": cannot open a stream: " + std::strerror(errno));
    }
    if (content_ == Content::kHotWeights) {
        // Without a buffer, seeks come as they are asked for, and tensors are read straight into place.
        std::setvbuf(stream_, nullptr, _IONBF, 0);
    }
    return Status::ok();
}

Status VirtualGguf::take_failure() {
    Status failure = failure_;
    failure_ = Status::ok();
    return failure;
}

// The tensor that begins at `position` or before it; nullptr in the header.
const VirtualGguf::Extent * VirtualGguf::extent_at(uint64_t position) const {
    const auto next = std::upper_bound(extents_.begin(), extents_.end(), position,
                                       [](uint64_t at, const Extent & extent) { return at < extent.offset; });
    return next != extents_.begin() ? &*(next - 1) : nullptr;
}

int64_t VirtualGguf::seek(int64_t offset, int whence) {
    const int64_t base = whence == SEEK_SET ? 0 : static_cast<int64_t>(whence == SEEK_CUR ? position_ : size_bytes_);
    if (base + offset < 0) {
        errno = EINVAL;
        return -1;
    }
    position_ = static_cast<uint64_t>(base + offset);
    const Extent * extent = extent_at(position_);
    if (extent != nullptr && source_.tensors()[extent->tensor].expert) {
        position_ = size_bytes_;
    }
    return static_cast<int64_t>(position_);
}

int64_t VirtualGguf::read(char * buffer, size_t size) {
    if (position_ >= size_bytes_) {
        return 0;
    }
    if (position_ >= header_.size()) {
        return read_tensor(buffer, size);
    }
    const size_t n = std::min<size_t>(size, header_.size() - position_);
    std::memcpy(buffer, header_.data() + position_, n);
    position_ += n;
    return static_cast<int64_t>(n);
}

int64_t VirtualGguf::read_tensor(char * buffer, size_t size) {
    const Extent * extent = extent_at(position_);
    const GgufSource::Tensor * tensor = extent != nullptr ? &source_.tensors()[extent->tensor] : nullptr;
    const uint64_t within = extent != nullptr ? position_ - extent->offset : 0;
    if (content_ == Content::kHeader || tensor == nullptr || tensor->expert || within >= tensor->bytes) {
        errno = EIO;
        return -1;
    }
    const auto n = static_cast<size_t>(std::min<uint64_t>(size, tensor->bytes - within));
    const Status status = read_past_page_cache(*source_.files()[tensor->file], tensor->offset + within, n, buffer);
    if (!status.is_ok()) {
        failure_ = Status(status.code(), status.message() + " (tensor " + tensor->name + ")");
        errno = EIO;
        return -1;
    }
    position_ += n;
    return static_cast<int64_t>(n);
}

}  // namespace edgemoe
