// A file descriptor that is closed when its owner goes.
//
// A negative number is none. Not for what libmilter or asio own. Thread: one.
// No failure of close() is of use to anybody here.
#pragma once

#include <unistd.h>

#include <utility>

namespace callforward::milter {

class descriptor {
public:
    explicit descriptor(int number) : number_(number) {}
    descriptor(descriptor&& other) noexcept : number_(other.release()) {}
    descriptor& operator=(descriptor&& other) noexcept {
        std::swap(number_, other.number_);
        return *this;
    }
    descriptor(const descriptor&) = delete;
    descriptor& operator=(const descriptor&) = delete;
    ~descriptor() {
        if (number_ >= 0) ::close(number_);
    }
    [[nodiscard]] int get() const { return number_; }
    [[nodiscard]] int release() { return std::exchange(number_, -1); }

private:
    int number_;
};

}  // namespace callforward::milter
