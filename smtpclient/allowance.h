// Leave to have one more connection to a host, where several processes share a limit.
//
// take() gives something that is leave for one connection until the last copy of it is gone, or
// nothing when there is no room now. It must not take long, and never fails for want of whom to
// ask: then a process' own limits have to do. One event loop thread.
#pragma once

#include <asio/awaitable.hpp>

#include <memory>
#include <string>

namespace callforward::smtpclient {

class allowance {
public:
    allowance() = default;
    allowance(const allowance&) = delete;
    allowance& operator=(const allowance&) = delete;
    virtual ~allowance() = default;

    [[nodiscard]] virtual asio::awaitable<std::shared_ptr<void>> take(std::string host) = 0;
};

}  // namespace callforward::smtpclient
