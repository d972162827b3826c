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

    // The first for which `fits` holds, or else the first. REQUIRES: !empty().
    template <typename Fits>
    T pop_preferred(Fits fits) {
        size_t chosen = 0;
        while (chosen < size_ && !fits(at(chosen))) {
            chosen++;
        }
        for (size_t i = chosen == size_ ? 0 : chosen; i > 0; --i) {
            std::swap(at(i), at(i - 1));
        }
        return pop();
    }
    template <typename Fits>
    size_t count(Fits fits) {
        size_t n = 0;
        for (size_t i = 0; i < size_; ++i) {
            n += fits(at(i)) ? 1 : 0;
        }
        return n;
    }

private:
    T & at(size_t i) { return values_[(first_ + i) % values_.size()]; }

    std::vector<T> values_;
    size_t first_ = 0;
    size_t size_ = 0;
};

}  // namespace edgemoe
