// How many connections to next hops the process has, over all event loops: in all ([limits]
// connections), and to each host.
//
// A place in all is taken by each attempt to open one, which leaves it to the connection that comes
// of it, for the life of that. What finds none does not wait for one: its errands are answered at
// once as overloaded, which is put off and not remembered. A place at a host is taken before its
// addresses are known, and but counted: the same host is asked by several objects where policies
// differ, or domains of several event loops have the same mail exchanger, and connections_per_host
// is for all of them. Thread: any.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <string>
#include <utility>

namespace callforward::smtpclient {

class place_at_host {
public:
    explicit place_at_host(std::string host);
    ~place_at_host();
    place_at_host(const place_at_host&) = delete;
    place_at_host& operator=(const place_at_host&) = delete;

    [[nodiscard]] static std::size_t taken(const std::string& host);

private:
    const std::string host_;
};

class connection_place {
public:
    // most: 0 for no limit.
    connection_place(std::size_t most, std::shared_ptr<const place_at_host> of)
        : of_(std::move(of)), is_granted_(++taken() <= most || most == 0) {}
    ~connection_place() { --taken(); }
    connection_place(const connection_place&) = delete;
    connection_place& operator=(const connection_place&) = delete;

    [[nodiscard]] bool is_granted() const { return is_granted_; }

private:
    static std::atomic<std::size_t>& taken() {
        static std::atomic<std::size_t> count{0};
        return count;
    }

    const std::shared_ptr<const place_at_host> of_;
    bool is_granted_;
};

}  // namespace callforward::smtpclient
