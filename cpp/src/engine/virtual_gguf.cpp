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

namespace {

// Tensors lie at multiples of the C library's buffer: it rounds a seek down to one, and must not land in another
// tensor.
constexpr uint32_t kBufferBytes = 1 << 20;

}  // namespace

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

Result<std::unique_ptr<VirtualGguf>> VirtualGguf::create(const GgufSource & source) {
    std::unique_ptr<VirtualGguf> gguf(new VirtualGguf(source));
    Status status = gguf->build_header();
    if (status.is_ok()) {
        status = gguf->open_stream();
    }
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

namespace {

std::vector<uint8_t> metadata_of(const gguf_context * gguf) {
    std::vector<uint8_t> bytes(gguf_get_meta_size(gguf));
    gguf_get_meta_data(gguf, bytes.data());
    return bytes;
}

}  // namespace

Status VirtualGguf::build_header() {
    Gguf keys(gguf_init_empty());
    gguf_set_kv(keys.get(), source_.metadata());
    remove_file_keys(keys.get());  // the splits are one stream here
    gguf_set_val_u32(keys.get(), "general.alignment", kBufferBytes);
    // A context takes its alignment from what it was parsed from, not from a key that is set later.
    const std::vector<uint8_t> parsed = metadata_of(keys.get());
    Gguf gguf(gguf_init_from_buffer(parsed.data(), parsed.size(), {/*no_alloc=*/true, nullptr}));
    if (gguf == nullptr) {
        return Status(StatusCode::kFormat, source_.path() + ": its metadata cannot be copied");
    }
    for (size_t i = 0; i < source_.tensors().size(); i++) {
        gguf_add_tensor(gguf.get(), source_.shape(i));
    }
    header_ = metadata_of(gguf.get());
    size_bytes_ = header_.size();
    for (size_t i = 0; i < source_.tensors().size(); i++) {
        const uint64_t offset = header_.size() + gguf_get_tensor_offset(gguf.get(), static_cast<int64_t>(i));
        extents_.push_back({offset, i});
        size_bytes_ = std::max(size_bytes_, offset + source_.tensors()[i].bytes);
    }
    return Status::ok();
}

Status VirtualGguf::open_stream() {
    stream_ = StreamFunctions::open(this);
    if (stream_ == nullptr) {
        return Status(StatusCode::kInternal, source_.path() + ": cannot open a stream: " + std::strerror(errno));
    }
    buffer_.resize(kBufferBytes);
    std::setvbuf(stream_, buffer_.data(), _IOFBF, buffer_.size());
    return Status::ok();
}

size_t VirtualGguf::extent_at(uint64_t position) const {
    const auto next = std::upper_bound(extents_.begin(), extents_.end(), position,
                                       [](uint64_t at, const Extent & extent) { return at < extent.offset; });
    return static_cast<size_t>(next - extents_.begin()) - 1;
}

int64_t VirtualGguf::seek(int64_t offset, int whence) {
    const int64_t base = whence == SEEK_SET ? 0 : static_cast<int64_t>(whence == SEEK_CUR ? position_ : size_bytes_);
    if (base + offset < 0) {
        errno = EINVAL;
        return -1;
    }
    position_ = static_cast<uint64_t>(base + offset);
    if (position_ >= header_.size() && position_ < size_bytes_ &&
        source_.tensors()[extents_[extent_at(position_)].tensor].expert) {
        position_ = size_bytes_;
    }
    return static_cast<int64_t>(position_);
}

int64_t VirtualGguf::read(char * buffer, size_t size) {
    if (position_ >= size_bytes_) {
        return 0;
    }
    if (position_ < header_.size()) {
        const size_t n = std::min<size_t>(size, header_.size() - position_);
        std::memcpy(buffer, header_.data() + position_, n);
        position_ += n;
        return static_cast<int64_t>(n);
    }
    const size_t at = extent_at(position_);
    const Extent & extent = extents_[at];
    const GgufSource::Tensor & tensor = source_.tensors()[extent.tensor];
    const uint64_t within = position_ - extent.offset;
    if (within >= tensor.bytes) {  // padding between tensors
        const size_t n = std::min<size_t>(
            size, static_cast<size_t>((at + 1 == extents_.size() ? size_bytes_ : extents_[at + 1].offset) - position_));
        std::memset(buffer, 0, n);
        position_ += n;
        return static_cast<int64_t>(n);
    }
    const size_t n = std::min<size_t>(size, static_cast<size_t>(tensor.bytes - within));
    const Status status = read_past_page_cache(*source_.files()[tensor.file], tensor.offset + within, n, buffer);
    if (!status.is_ok()) {
        status_ = Status(status.code(), status.message() + " (tensor " + tensor.name + ")");
        errno = EIO;
        return -1;
    }
    position_ += n;
    return static_cast<int64_t>(n);
}

}  // namespace edgemoe
