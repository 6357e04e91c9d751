// How many connections to next hops the process has, over all hosts and event loops: [limits]
// connections.
//
// A place is taken by each attempt to open one, which leaves it to the connection that comes of it,
// for the life of that. What finds no place does not wait for one: its errands are answered at once
// as overloaded, which is put off and not remembered. Thread: any.
#pragma once

#include <atomic>
#include <cstddef>

namespace callforward::smtpclient {

class connection_place {
public:
    // most: 0 for no limit.
    explicit connection_place(std::size_t most) : is_granted_(++taken() <= most || most == 0) {}
    ~connection_place() { --taken(); }
    connection_place(const connection_place&) = delete;
    connection_place& operator=(const connection_place&) = delete;

    [[nodiscard]] bool is_granted() const { return is_granted_; }

private:
    static std::atomic<std::size_t>& taken() {
        static std::atomic<std::size_t> count{0};
        return count;
    }

    bool is_granted_;
};

}  // namespace callforward::smtpclient
