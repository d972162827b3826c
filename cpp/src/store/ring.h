// A queue of at most so many values, in memory that is allocated once. Not thread-safe.
#pragma once

#include <cassert>
#include <cstddef>
#include <utility>
#include <vector>

namespace edgemoe {

template <typename T>
class Ring {
public:
    explicit Ring(size_t capacity) : values_(capacity) {}

    bool empty() const { return size_ == 0; }
    size_t size() const { return size_; }
    void push(T value) {
        assert(size_ < values_.size());
        values_[(first_ + size_++) % values_.size()] = std::move(value);
    }
    // The one that was pushed first. REQUIRES: !empty().
    T pop() {
        assert(!empty());
        T value = std::move(values_[first_]);
        first_ = (first_ + 1) % values_.size();
        size_--;
        return value;
    }

private:
    std::vector<T> values_;
    size_t first_ = 0;
    size_t size_ = 0;
};

}  // namespace edgemoe
