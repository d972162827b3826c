// The engine for direct reads on Linux: one io_uring with up to `n_lanes` reads in the kernel, and no threads of its
// own. Reads move from the queues into the ring whenever a thread calls submit(), reap() or wait().
//
// Invariants, under mutex_:
//   * An accepted request is in exactly one place: queued_, resumed_, a slot (the kernel has it), the hands of one
//     thread that reads it itself, or (as a completion) completions_. n_undelivered_ counts the requests in those
//     places.
//   * The submission queue is touched only with mutex_ held, and no read is left in it when mutex_ is released: what
//     the kernel did not take is turned into a no-op, and the read goes back to its queue.
//   * The completion queue belongs to the one thread for which waits_in_ring_ is set, and it waits there without
//     mutex_; while there is none, to whoever holds mutex_.
//   * A thread sleeps on changed_ only while completions_ is empty, n_undelivered_ is not zero, and another thread is
//     in the ring or reads by itself. That thread wakes one sleeper when it leaves, who then takes its place.
#include "base/awake_mutex.h"
#include "base/wait_awake.h"
#include "storage/async_reader.h"
#include "storage/read_progress.h"
#include "storage/read_queues.h"

#include <fcntl.h>
#include <liburing.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <cerrno>
#include <condition_variable>
#include <deque>
#include <iterator>
#include <mutex>
#include <optional>
#include <utility>

namespace edgemoe {
namespace {

constexpr int kMaxLanes = 4096;
constexpr uint64_t kNoSlot = uint64_t{1} << 32;  // user_data of no-ops

// An entry of the submission queue that the kernel has not seen yet.
struct PreparedRead {
    io_uring_sqe * entry;
    size_t slot;
    bool is_resumed;  // where the read came from: resumed_, or else queued_
};

class IoUringReader final : public AsyncReader {
public:
    // Takes over `ring`, which is empty and has more than `n_lanes` entries.
    IoUringReader(const io_uring & ring, int n_lanes) : ring_(ring), slots_(static_cast<size_t>(n_lanes)) {
        for (size_t slot = slots_.size(); slot > 0; --slot) {
            free_slots_.push_back(slot - 1);
        }
    }

    ~IoUringReader() override {
        queued_.clear();
        while (n_in_kernel() > 0) {
            wait_for_answer();
            harvest();
        }
        ::io_uring_queue_exit(&ring_);
    }

    // What the kernel refuses to register (it counts as locked memory) is read into as any other memory.
    void prepare(const std::vector<std::shared_ptr<const File>> & files, std::byte * memory, size_t bytes) override {
        const std::lock_guard<AwakeMutex> lock(mutex_);
        iovec range = {memory, bytes};
        if (bytes > 0 && registered_bytes_ == 0 && ::io_uring_register_buffers(&ring_, &range, 1) == 0) {
            registered_ = memory;
            registered_bytes_ = bytes;
        }
        std::vector<int> fds;
        for (const std::shared_ptr<const File> & file : files) {
            fds.push_back(file->aligned_fd());
            if (file->fd() != file->aligned_fd()) {
                fds.push_back(file->fd());
            }
        }
        if (!fds.empty() && registered_fds_.empty() &&
            ::io_uring_register_files(&ring_, fds.data(), static_cast<unsigned>(fds.size())) == 0) {
            registered_fds_ = std::move(fds);
        }
    }

    // What comes together goes to the kernel in one call, as far as there are lanes.
    void submit(const std::vector<ReadRequest> & requests) override {
        const std::lock_guard<AwakeMutex> lock(mutex_);
        for (const ReadRequest & request : requests) {
            queued_.push(request);
        }
        n_undelivered_ += requests.size();
        advance();
        invite_into_ring();
    }

    size_t reap(std::vector<ReadCompletion> * completions) override {
        const std::unique_lock<AwakeMutex> lock(mutex_, std::try_to_lock);
        if (!lock) {
            return 0;  // another thread is here: it does what there is to do, and may be in a call of the system
        }
        advance();
        invite_into_ring();
        return deliver(completions);
    }

    size_t wait(std::vector<ReadCompletion> * completions) override {
        std::unique_lock<AwakeMutex> lock(mutex_);
        for (;;) {
            advance();
            if (!completions_.empty() || n_undelivered_ == 0) {
                changed_.notify_one();  // takes this thread's place
                return deliver(completions);
            }
            if (waits_in_ring_) {
                sleep(lock);
            } else if (n_in_kernel() > 0) {
                waits_in_ring_ = true;
                lock.unlock();
                wait_for_answer();
                lock.lock();
                waits_in_ring_ = false;
                is_waking_ring_ = false;
            } else if (std::optional<ReadProgress> read = next_read()) {
                // The kernel takes no read at the moment (it is short of memory), and no answer will tell when it does.
                lock.unlock();
                ReadCompletion completion = finish_blocking(*read);
                lock.lock();
                completions_.push_back(std::move(completion));
            } else {
                sleep(lock);  // another thread is reading the last request by itself
            }
        }
    }

    void cancel(uint64_t id) override {
        const std::lock_guard<AwakeMutex> lock(mutex_);
        const std::optional<ReadRequest> request = queued_.remove(id);
        if (!request) {
            return;
        }
        completions_.push_back(cancelled_completion(*request));
        if (n_sleeping_ > 0) {
            changed_.notify_one();
        } else if (waits_in_ring_) {
            wake_from_ring();
        }
    }

    void promote(uint64_t id) override {
        const std::lock_guard<AwakeMutex> lock(mutex_);
        queued_.promote(id);
    }

    const char * name() const override { return "uring"; }

private:
    // Everything below but wait_for_answer() REQUIRES: mutex_ is held, or no other thread knows the reader.

    size_t n_in_kernel() const { return slots_.size() - free_slots_.size(); }

    // Takes what the kernel has finished, and gives it what is queued. Does not block.
    void advance() {
        if (!waits_in_ring_) {
            harvest();
        }
        fill_ring();
    }

    size_t deliver(std::vector<ReadCompletion> * completions) {
        const size_t n = completions_.size();
        std::move(completions_.begin(), completions_.end(), std::back_inserter(*completions));
        completions_.clear();
        n_undelivered_ -= n;
        if (n_undelivered_ == 0) {
            changed_.notify_all();  // nothing more will come for the others who wait
        }
        return n;
    }

    // The ring may be worth waiting in now, which it was not when the sleepers went to sleep.
    void invite_into_ring() {
        if (!waits_in_ring_ && n_sleeping_ > 0) {
            changed_.notify_one();
        }
    }

    void sleep(std::unique_lock<AwakeMutex> & lock) {
        ++n_sleeping_;
        changed_.wait(lock);
        --n_sleeping_;
    }

    // Blocks until the completion queue has an entry (or for nothing, which the caller's loop forgives).
    // REQUIRES: a read is in the kernel, and the completion queue belongs to this thread.
    void wait_for_answer() {
        wait_awake([this] { return ::io_uring_cq_ready(&ring_) > 0; });
        io_uring_cqe * answer = nullptr;
        [[maybe_unused]] const int error = ::io_uring_wait_cqe(&ring_, &answer);
        assert((error == 0 || error == -EINTR || error == -EAGAIN) && "the ring is sound");
    }

    // REQUIRES: the completion queue belongs to this thread.
    void harvest() {
        io_uring_cqe * answer = nullptr;
        while (::io_uring_peek_cqe(&ring_, &answer) == 0) {
            const uint64_t slot = answer->user_data;
            const int result = answer->res;
            ::io_uring_cqe_seen(&ring_, answer);
            if (slot == kNoSlot) {
                continue;
            }
            ReadProgress & read = slots_[slot];
            if (read.account(result)) {
                completions_.push_back(read.completion());
            } else {
                resumed_.push_back(read);
            }
            free_slots_.push_back(slot);
        }
    }

    // The read to start or continue next, or nothing.
    std::optional<ReadProgress> next_read() {
        if (!resumed_.empty()) {
            const ReadProgress read = resumed_.front();
            resumed_.pop_front();
            return read;
        }
        if (const std::optional<ReadRequest> request = queued_.pop()) {
            return ReadProgress(*request);
        }
        return std::nullopt;
    }

    // Gives the kernel as many reads as there are free slots and as it takes.
    void fill_ring() {
        bool was_cut_short = true;
        while (was_cut_short) {
            // No-ops of an earlier refusal come first; after that the submission queue has room for every slot.
            if (::io_uring_sq_ready(&ring_) > 0) {
                ::io_uring_submit(&ring_);
                if (::io_uring_sq_ready(&ring_) > 0) {
                    return;
                }
            }
            prepared_.clear();
            while (!free_slots_.empty() && prepare_read()) {
            }
            if (prepared_.empty()) {
                return;
            }
            ::io_uring_submit(&ring_);
            // Entries are taken in order, so what is left are the last ones.
            const size_t n_left = ::io_uring_sq_ready(&ring_);
            assert(n_left <= prepared_.size());
            was_cut_short = n_left > 0 && n_left < prepared_.size();
            for (size_t n = 0; n < n_left; ++n) {
                withdraw(prepared_[prepared_.size() - 1 - n]);
            }
        }
    }

    // Puts the next read into the submission queue; false when there is none. REQUIRES: a free slot and a free entry.
    bool prepare_read() {
        const bool is_resumed = !resumed_.empty();
        const std::optional<ReadProgress> read = next_read();
        if (!read) {
            return false;
        }
        const size_t slot = free_slots_.back();
        free_slots_.pop_back();
        slots_[slot] = *read;
        io_uring_sqe * entry = ::io_uring_get_sqe(&ring_);
        assert(entry != nullptr && "the submission queue has an entry for every slot");
        prepare_entry(entry, *read);
        if (read->should_block()) {
            entry->flags |= IOSQE_ASYNC;
        }
        entry->user_data = slot;
        prepared_.push_back({entry, slot, is_resumed});
        return true;
    }

    void prepare_entry(io_uring_sqe * entry, const ReadProgress & read) const {
        const auto bytes = static_cast<unsigned>(read.bytes());
        const auto known = std::find(registered_fds_.begin(), registered_fds_.end(), read.fd());
        const bool is_known = known != registered_fds_.end();
        const int fd = is_known ? static_cast<int>(known - registered_fds_.begin()) : read.fd();
        if (is_registered(read.destination(), bytes)) {
            ::io_uring_prep_read_fixed(entry, fd, read.destination(), bytes, read.offset(), 0);
        } else {
            ::io_uring_prep_read(entry, fd, read.destination(), bytes, read.offset());
        }
        if (is_known) {
            entry->flags |= IOSQE_FIXED_FILE;
        }
    }

    bool is_registered(const std::byte * destination, size_t bytes) const {
        const auto begin = reinterpret_cast<uintptr_t>(registered_);
        const auto at = reinterpret_cast<uintptr_t>(destination);
        return at >= begin && at - begin < registered_bytes_ && bytes <= registered_bytes_ - (at - begin);
    }

    // Undoes prepare_read() for an entry that the kernel did not take and, without mutex_, cannot take.
    void withdraw(const PreparedRead & prepared) {
        make_no_op(prepared.entry);
        const ReadProgress & read = slots_[prepared.slot];
        if (prepared.is_resumed) {
            resumed_.push_front(read);
        } else {
            queued_.push_front(read.request());
        }
        free_slots_.push_back(prepared.slot);
    }

    // Lets the thread in the ring look at completions_. When this fails, it looks after the next read.
    void wake_from_ring() {
        if (is_waking_ring_) {
            return;
        }
        if (io_uring_sqe * entry = ::io_uring_get_sqe(&ring_)) {
            make_no_op(entry);
            is_waking_ring_ = true;
        }
        ::io_uring_submit(&ring_);
    }

    static void make_no_op(io_uring_sqe * entry) {
        ::io_uring_prep_nop(entry);
        entry->user_data = kNoSlot;
    }

    AwakeMutex mutex_;
    std::condition_variable_any changed_;  // see the head of this file
    io_uring ring_;                        // guarded as the head of this file says
    std::byte * registered_ = nullptr;     // the one registered buffer; this and the next two guarded by mutex_
    size_t registered_bytes_ = 0;
    std::vector<int> registered_fds_;          // their places are their registered numbers
    ReadQueues queued_;                        // not started; this and all below guarded by mutex_
    std::deque<ReadProgress> resumed_;         // started, and to be continued by another call
    std::vector<ReadProgress> slots_;          // by slot: what the kernel has
    std::vector<size_t> free_slots_;           // slots of which the kernel has none
    std::vector<PreparedRead> prepared_;       // of fill_ring() alone
    std::vector<ReadCompletion> completions_;  // not delivered yet
    size_t n_undelivered_ = 0;
    size_t n_sleeping_ = 0;        // threads on changed_
    bool waits_in_ring_ = false;   // a thread is in wait_for_answer() without mutex_
    bool is_waking_ring_ = false;  // a no-op is on its way to that thread
};

Status refusal(const std::string & action, int error) {
    std::string reason = system_reason(error);
    if (error == EPERM || error == EACCES) {
        reason += "; a sandbox or the kernel setting io_uring_disabled forbids it";
    } else if (error == ENOMEM) {
        reason += "; raise the limit of locked memory (ulimit -l)";
    }
    return Status(StatusCode::kUnsupported, "io_uring: " + action + ": " + reason);
}

// Reads a few bytes from a pipe through `ring`: kernels and sandboxes may grant rings whose reads fail.
Status probe(io_uring * ring) {
    std::array<int, 2> pipe_fds = {-1, -1};
    if (::pipe2(pipe_fds.data(), O_CLOEXEC) != 0) {
        return refusal("creating a pipe for the probe", errno);
    }
    const std::array<char, 4> sent = {'r', 'i', 'n', 'g'};
    std::array<char, 4> received = {};
    int64_t answer = -EIO;
    if (::write(pipe_fds[1], sent.data(), sent.size()) == static_cast<ssize_t>(sent.size())) {
        io_uring_sqe * entry = ::io_uring_get_sqe(ring);
        ::io_uring_prep_read(entry, pipe_fds[0], received.data(), static_cast<unsigned>(received.size()), 0);
        entry->user_data = kNoSlot;
        answer = ::io_uring_submit(ring);
        if (answer >= 0) {
            io_uring_cqe * completion = nullptr;
            do {
                answer = ::io_uring_wait_cqe(ring, &completion);
            } while (answer == -EINTR);
            if (answer == 0) {
                answer = completion->res;
                ::io_uring_cqe_seen(ring, completion);
            }
        }
    }
    ::close(pipe_fds[0]);
    ::close(pipe_fds[1]);
    if (answer < 0) {
        return refusal("a read through the ring", static_cast<int>(-answer));
    }
    if (received != sent) {
        return Status(StatusCode::kUnsupported,
                      "io_uring: a read through the ring: gave other bytes than were written");
    }
    return Status::ok();
}

}  // namespace

Result<std::unique_ptr<AsyncReader>> make_io_uring_reader(int n_lanes) {
    n_lanes = std::clamp(n_lanes, 1, kMaxLanes);
    const int n_entries = n_lanes + 1;  // and one for the no-op of wake_from_ring()
    io_uring ring = {};
    const int error = ::io_uring_queue_init(static_cast<unsigned>(n_entries), &ring, 0);
    if (error != 0) {
        return refusal("creating a ring of " + std::to_string(n_entries) + " entries", -error);
    }
    if (Status status = probe(&ring); !status.is_ok()) {
        ::io_uring_queue_exit(&ring);
        return status;
    }
    return std::unique_ptr<AsyncReader>(std::make_unique<IoUringReader>(ring, n_lanes));
}

}  // namespace edgemoe
