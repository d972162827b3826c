// Invariants: [0, end_) is the file's header and records that are written or being written; places_ has those that are
// written. Records do not overlap: append() takes its stretch under the mutex and writes outside it. A writer that dies
// between two appends may leave a hole; scan() ends there.
#include "engine/rounding_journal.h"

#include "storage/read_progress.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace edgemoe {

namespace {

constexpr uint64_t kFileMagic = 0x31444e52454f4d45;    // "EMOERND1"
constexpr uint64_t kRecordMagic = 0x54524150444e5552;  // "RUNDPART"
constexpr uint64_t kMostPartBytes = uint64_t{1} << 34;

struct FileHeader {
    uint64_t magic = kFileMagic;
    uint64_t identity = 0;
};

struct RecordHeader {
    uint64_t magic = kRecordMagic;
    int32_t layer = 0;
    int32_t expert = 0;
    int32_t projection = 0;
    int32_t type = 0;
    uint64_t feedback = 0;
    double error = 0;
    double nearest_error = 0;
    uint64_t bytes = 0;
    uint64_t bytes_checksum = 0;
    uint64_t header_checksum = 0;  // of the fields above
};
static_assert(sizeof(RecordHeader) == 72, "written as it lies in memory: no padding");

// Finds torn and damaged records; not meant against an adversary. A word at a time, as each part passes through it.
uint64_t checksum(const void * data, size_t bytes) {
    const auto * position = static_cast<const unsigned char *>(data);
    uint64_t sum = 0x9e3779b97f4a7c15 ^ bytes;
    const auto mix = [&sum](uint64_t word) {
        sum = (sum ^ word) * 0xff51afd7ed558ccd;
        sum ^= sum >> 32;
    };
    for (; bytes >= 8; bytes -= 8, position += 8) {
        uint64_t word = 0;
        std::memcpy(&word, position, 8);
        mix(word);
    }
    uint64_t rest = 0;
    std::memcpy(&rest, position, bytes);
    mix(rest);
    return sum;
}

uint64_t header_checksum(const RecordHeader & header) {
    return checksum(&header, sizeof(header) - sizeof(header.header_checksum));
}

Status failure(const std::string & path, const char * what) {
    return Status(StatusCode::kIo, path + ": " + what + ": " + system_reason(errno));
}

bool write_all(int fd, const void * data, size_t bytes, uint64_t offset) {
    const auto * position = static_cast<const char *>(data);
    while (bytes > 0) {
        const ssize_t n =
            ::pwrite(fd, position, std::min(bytes, ReadProgress::kMaxCallBytes), static_cast<off_t>(offset));
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return false;
        }
        position += n;
        offset += static_cast<uint64_t>(n);
        bytes -= static_cast<size_t>(n);
    }
    return true;
}

// False at the end of the file too.
bool read_all(int fd, void * data, size_t bytes, uint64_t offset) {
    auto * position = static_cast<char *>(data);
    while (bytes > 0) {
        const ssize_t n =
            ::pread(fd, position, std::min(bytes, ReadProgress::kMaxCallBytes), static_cast<off_t>(offset));
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return false;
        }
        position += n;
        offset += static_cast<uint64_t>(n);
        bytes -= static_cast<size_t>(n);
    }
    return true;
}

}  // namespace

Result<std::unique_ptr<RoundingJournal>> RoundingJournal::open(const std::string & path, uint64_t identity) {
    const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0) {
        return failure(path, "cannot be opened");
    }
    std::unique_ptr<RoundingJournal> journal(new RoundingJournal(path, fd));
    if (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
        return errno == EWOULDBLOCK ? Status(StatusCode::kIo, path + ": another process packs to the same output")
                                    : failure(path, "cannot be locked");
    }
    Status status = journal->scan(identity);
    if (!status.is_ok()) {
        return status;
    }
    return journal;
}

RoundingJournal::~RoundingJournal() {
    if (fd_ >= 0) {
        ::close(fd_);
    }
}

Status RoundingJournal::scan(uint64_t identity) {
    FileHeader file;
    end_ = sizeof(file);
    if (read_all(fd_, &file, sizeof(file), 0) && file.magic == kFileMagic && file.identity == identity) {
        RecordHeader header;
        std::vector<std::byte> bytes;
        while (read_all(fd_, &header, sizeof(header), end_)) {
            if (header.magic != kRecordMagic || header.header_checksum != header_checksum(header) ||
                header.bytes > kMostPartBytes) {
                break;
            }
            bytes.resize(header.bytes);
            if (!read_all(fd_, bytes.data(), bytes.size(), end_ + sizeof(header)) ||
                checksum(bytes.data(), bytes.size()) != header.bytes_checksum) {
                break;
            }
            const RoundedKey key{
                {header.layer, header.expert}, static_cast<Projection>(header.projection), header.type};
            places_[key] = {end_, header.bytes};
            end_ += sizeof(header) + header.bytes;
        }
    } else {
        file = {};
        file.identity = identity;
        if (::ftruncate(fd_, 0) != 0 || !write_all(fd_, &file, sizeof(file), 0)) {
            return failure(path_, "cannot be written");
        }
    }
    n_found_ = places_.size();
    return ::ftruncate(fd_, static_cast<off_t>(end_)) == 0 ? Status::ok() : failure(path_, "cannot be truncated");
}

bool RoundingJournal::contains(const RoundedKey & key) const {
    const std::lock_guard<std::mutex> lock(mutex_);
    return places_.count(key) != 0;
}

Status RoundingJournal::append(const RoundedKey & key, const RoundedPart & part) {
    RecordHeader header;
    header.layer = key.id.layer;
    header.expert = key.id.expert;
    header.projection = static_cast<int32_t>(key.projection);
    header.type = key.type;
    header.feedback = part.feedback ? 1 : 0;
    header.error = part.error;
    header.nearest_error = part.nearest_error;
    header.bytes = part.bytes.size();
    header.bytes_checksum = checksum(part.bytes.data(), part.bytes.size());
    header.header_checksum = header_checksum(header);

    uint64_t offset = 0;
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        offset = end_;
        end_ += sizeof(header) + part.bytes.size();
    }
    // The header last: a record whose header is there is whole, but for crashes of the machine.
    if (!write_all(fd_, part.bytes.data(), part.bytes.size(), offset + sizeof(header)) ||
        !write_all(fd_, &header, sizeof(header), offset)) {
        return failure(path_, "cannot be written");
    }
    const std::lock_guard<std::mutex> lock(mutex_);
    places_[key] = {offset, header.bytes};
    return Status::ok();
}

Result<RoundedPart> RoundingJournal::read(const RoundedKey & key) const {
    Place place;
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        place = places_.at(key);
    }
    RecordHeader header;
    RoundedPart part;
    part.bytes.resize(place.bytes);
    errno = EIO;  // what a file that has become shorter is reported as
    if (!read_all(fd_, &header, sizeof(header), place.offset) ||
        !read_all(fd_, part.bytes.data(), part.bytes.size(), place.offset + sizeof(header))) {
        return failure(path_, "cannot be read");
    }
    if (header.bytes != place.bytes || checksum(part.bytes.data(), part.bytes.size()) != header.bytes_checksum) {
        return Status(StatusCode::kFormat, path_ + ": was changed since it was written; delete it and pack again");
    }
    part.feedback = header.feedback != 0;
    part.error = header.error;
    part.nearest_error = header.nearest_error;
    return part;
}

Status RoundingJournal::remove() {
    return ::unlink(path_.c_str()) == 0 ? Status::ok() : failure(path_, "cannot be removed");
}

}  // namespace edgemoe
