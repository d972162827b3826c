// Invariant: data_ is the start of a mapping of size_bytes_ bytes, or both are zero.
#include "storage/aligned_memory.h"

#include "base/checked.h"
#include "storage/memory_advice.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <string>
#include <system_error>
#include <utility>

namespace edgemoe {

namespace {

void unmap(void * data, size_t bytes) {
    if (bytes > 0) {
        ::munmap(data, bytes);
    }
}

}  // namespace

AlignedMemory::~AlignedMemory() {
    unmap(data_, size_bytes_);
}

AlignedMemory::AlignedMemory(AlignedMemory && other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_bytes_(std::exchange(other.size_bytes_, 0)) {}

AlignedMemory & AlignedMemory::operator=(AlignedMemory && other) noexcept {
    // `old` unmaps what this object held; for a self-assignment it holds nothing.
    AlignedMemory old(std::move(other));
    std::swap(data_, old.data_);
    std::swap(size_bytes_, old.size_bytes_);
    return *this;
}

Result<AlignedMemory> AlignedMemory::allocate(size_t bytes, Access access) {
    AlignedMemory memory;
    if (bytes == 0) {
        return memory;
    }
    const auto refusal = [bytes](const std::string & reason) {
        return Status(StatusCode::kOutOfBudget,
                      "memory: " + std::to_string(bytes) + " bytes from the operating system: " + reason);
    };
    const auto page_bytes = static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
    if (bytes > SIZE_MAX - page_bytes - kHugePageBytes) {
        return refusal("more than the address space holds");
    }
    const size_t mapped_bytes = align_up(bytes, page_bytes);
    const bool reserved = access == Access::kReserved;
    // Kernels before 6.7 begin a mapping at any page.
    const size_t spare_bytes = !reserved && mapped_bytes >= kHugePageBytes ? kHugePageBytes - page_bytes : 0;
    void * mapping = ::mmap(nullptr, mapped_bytes + spare_bytes, reserved ? PROT_NONE : PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | (reserved ? MAP_NORESERVE : 0), -1, 0);
    if (mapping == MAP_FAILED) {
        return refusal(std::generic_category().message(errno));
    }
    auto * data = static_cast<std::byte *>(mapping);
    if (spare_bytes > 0) {
        const auto begin = reinterpret_cast<uintptr_t>(mapping);
        const size_t before = align_up(begin, kHugePageBytes) - begin;
        unmap(data, before);
        data += before;
        unmap(data + mapped_bytes, spare_bytes - before);
    }
    if (!reserved) {
        prefer_huge_pages(data, mapped_bytes);
    }
    memory.data_ = data;
    memory.size_bytes_ = mapped_bytes;
    return memory;
}

}  // namespace edgemoe
