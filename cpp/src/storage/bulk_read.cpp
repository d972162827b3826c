// Invariants, under mutex_:
//   * A stretch is in exactly one place: not yet submitted (from next_ on), in the reader (n_reading_ of them), in
//   arrived_, being taken (n_taking_ of them), or done.
//   * A buffer is in free_, or belongs to one stretch between submission and done.
//   * At most one thread waits in the reader; the others sleep on changed_ while there is nothing to take.
#include "storage/bulk_read.h"

#include "base/checked.h"
#include "storage/aligned_memory.h"
#include "storage/read_progress.h"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <new>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

namespace edgemoe {

namespace {

class BulkRead {
public:
    using Take = std::function<void(size_t, const std::byte *)>;

    BulkRead(const std::vector<Stretch> & stretches, AsyncReader & reader, const BulkReadOptions & options,
             const Take & take)
        : stretches_(stretches), reader_(reader), options_(options), take_(take), buffer_of_(stretches.size()) {
        for (const Stretch & stretch : stretches) {
            total_bytes_ += stretch.bytes;
            buffer_bytes_ = std::max<size_t>(buffer_bytes_, aligned_bytes(stretch));
        }
    }

    Status run(size_t * failed) {
        const size_t n_buffers = std::min(std::max<size_t>(1, options_.n_buffers), stretches_.size());
        Result<AlignedMemory> memory =
            AlignedMemory::allocate(n_buffers * buffer_bytes_, AlignedMemory::Access::kReadWrite);
        if (!memory.is_ok()) {
            *failed = stretches_.size();
            return memory.status();
        }
        for (size_t i = 0; i < n_buffers; i++) {
            free_.push_back(memory.value().data() + i * buffer_bytes_);
        }
        std::vector<std::thread> helpers;
        for (int i = 1; i < options_.n_threads; i++) {
            try {
                helpers.emplace_back([this] { work(false); });
            } catch (const std::system_error &) {
                break;  // fewer threads are slower, not wrong
            }
        }
        work(true);
        for (std::thread & helper : helpers) {
            helper.join();
        }
        std::unique_lock<std::mutex> lock(mutex_);
        if (reported_bytes_ < total_bytes_) {  // a helper was the last
            report(lock);
        }
        *failed = failed_;
        return failure_;
    }

private:
    static size_t aligned_bytes(const Stretch & stretch) {
        return static_cast<size_t>(align_up(stretch.offset + stretch.bytes, kDirectAlignment) -
                                   align_down(stretch.offset, kDirectAlignment));
    }

    void work(bool reports) {
        std::unique_lock<std::mutex> lock(mutex_);
        while (true) {
            submit(lock);
            if (!arrived_.empty()) {
                take_one(lock);
                if (reports) {
                    report(lock);
                }
                continue;
            }
            if (n_reading_ > 0 && !waits_in_reader_) {
                wait_in_reader(lock);
                continue;
            }
            if (n_reading_ == 0 && n_taking_ == 0 && (next_ == stretches_.size() || !failure_.is_ok())) {
                changed_.notify_all();
                return;
            }
            changed_.wait(lock);
        }
    }

    void submit(std::unique_lock<std::mutex> & lock) {
        std::vector<ReadRequest> requests;
        for (; failure_.is_ok() && next_ < stretches_.size() && !free_.empty(); next_++) {
            const Stretch & stretch = stretches_[next_];
            ReadRequest request;
            request.id = next_;
            request.file = stretch.file;
            request.offset = align_down(stretch.offset, kDirectAlignment);
            request.bytes = aligned_bytes(stretch);
            request.destination = free_.back();
            buffer_of_[next_] = free_.back();
            free_.pop_back();
            requests.push_back(request);
        }
        if (!requests.empty()) {
            n_reading_ += requests.size();
            lock.unlock();
            reader_.submit(requests);
            lock.lock();
            changed_.notify_one();
        }
    }

    void take_one(std::unique_lock<std::mutex> & lock) {
        const ReadCompletion completion = std::move(arrived_.front());
        arrived_.pop_front();
        n_taking_++;
        lock.unlock();
        const size_t number = completion.id;
        Status status = check(completion);
        if (status.is_ok()) {
            const Stretch & stretch = stretches_[number];
            try {
                take_(number, buffer_of_[number] + (stretch.offset - align_down(stretch.offset, kDirectAlignment)));
            } catch (const std::bad_alloc &) {
                status = Status(StatusCode::kOutOfBudget, stretch.file->path() + ": out of memory while loading");
            }
        }
        lock.lock();
        n_taking_--;
        done_bytes_ += stretches_[number].bytes;
        free_.push_back(buffer_of_[number]);
        if (!status.is_ok()) {
            fail(status, number);
        }
        changed_.notify_one();
    }

    Status check(const ReadCompletion & completion) const {
        if (!completion.status.is_ok()) {
            return completion.status;
        }
        const Stretch & stretch = stretches_[completion.id];
        if (align_down(stretch.offset, kDirectAlignment) + completion.bytes_read < stretch.offset + stretch.bytes) {
            return read_failure(StatusCode::kFormat, *stretch.file, stretch.offset, stretch.bytes,
                                "truncated since it was opened");
        }
        return Status::ok();
    }

    void report(std::unique_lock<std::mutex> & lock) {
        if (!options_.progress || !failure_.is_ok()) {
            return;
        }
        reported_bytes_ = done_bytes_;
        const float part = static_cast<float>(done_bytes_) / static_cast<float>(std::max<uint64_t>(1, total_bytes_));
        lock.unlock();
        const bool go_on = options_.progress(part);
        lock.lock();
        if (!go_on) {
            fail(Status(StatusCode::kCancelled, "loading was stopped"), stretches_.size());
        }
    }

    void wait_in_reader(std::unique_lock<std::mutex> & lock) {
        waits_in_reader_ = true;
        lock.unlock();
        std::vector<ReadCompletion> completions;
        reader_.wait(&completions);
        lock.lock();
        waits_in_reader_ = false;
        n_reading_ -= completions.size();
        std::move(completions.begin(), completions.end(), std::back_inserter(arrived_));
        changed_.notify_all();
    }

    void fail(const Status & status, size_t number) {
        if (failure_.is_ok()) {
            failure_ = status;
            failed_ = number;
        }
    }

    const std::vector<Stretch> & stretches_;
    AsyncReader & reader_;
    const BulkReadOptions & options_;
    const Take & take_;
    uint64_t total_bytes_ = 0;
    size_t buffer_bytes_ = 0;

    std::mutex mutex_;
    std::condition_variable changed_;
    size_t next_ = 0;  // guarded by mutex_, as all below
    std::vector<std::byte *> free_;
    std::vector<std::byte *> buffer_of_;  // by stretch, from submission until it is done; read by who takes it
    size_t n_reading_ = 0;
    size_t n_taking_ = 0;
    bool waits_in_reader_ = false;
    std::deque<ReadCompletion> arrived_;
    uint64_t done_bytes_ = 0;
    uint64_t reported_bytes_ = 0;
    Status failure_;
    size_t failed_ = 0;
};

}  // namespace

Status bulk_read(const std::vector<Stretch> & stretches, AsyncReader & reader, const BulkReadOptions & options,
                 const std::function<void(size_t, const std::byte *)> & take, size_t * failed) {
    *failed = stretches.size();
    if (stretches.empty()) {
        return Status::ok();
    }
    return BulkRead(stretches, reader, options, take).run(failed);
}

}  // namespace edgemoe
