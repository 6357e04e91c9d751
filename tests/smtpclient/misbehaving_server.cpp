#include "tests/smtpclient/misbehaving_server.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <stdexcept>
#include <system_error>
#include <utility>

namespace callforward::testing {

using namespace std::chrono_literals;

misbehaving_server::misbehaving_server(behaviour how, const std::string& listen)
    : how_(std::move(how)),
      listener_(listen_on(listen)),
      port_(local_port(listener_)),
      wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    if (!wake_) throw std::system_error(errno, std::generic_category(), "eventfd");
    thread_ = std::thread([this] { run(); });
}

misbehaving_server::~misbehaving_server() {
    const std::uint64_t one = 1;
    [[maybe_unused]] const auto written = ::write(wake_.get(), &one, sizeof one);
    thread_.join();
}

void misbehaving_server::run() {
    const pause wait = [this](std::chrono::milliseconds time) {
        pollfd stop{wake_.get(), POLLIN, 0};
        return ::poll(&stop, 1, static_cast<int>(time.count())) == 0;
    };
    for (;;) {
        std::array<pollfd, 2> waits{{{listener_.get(), POLLIN, 0}, {wake_.get(), POLLIN, 0}}};
        if (::poll(waits.data(), waits.size(), -1) < 0 && errno != EINTR) return;
        if (waits[1].revents != 0) return;
        unique_fd socket = accept_from(listener_);
        if (!socket) continue;
        ++connections_;
        stream peer(std::move(socket), wake_.get());
        peer.expires_after(60s);
        how_(peer, wait);
    }
}

void hang_up(stream& peer, const misbehaving_server::pause&) {
    peer.close();
}

misbehaving_server::behaviour drip(std::string beginning,
                                   std::string for_ever,
                                   std::chrono::milliseconds every) {
    return answer_then_drip({std::move(beginning)}, std::move(for_ever), every);
}

misbehaving_server::behaviour answer_then_drip(std::vector<std::string> replies,
                                               std::string for_ever,
                                               std::chrono::milliseconds every) {
    return [=](stream& peer, const misbehaving_server::pause& wait) {
        for (std::size_t i = 0; i < replies.size(); ++i) {
            std::string line;
            if (i > 0 && peer.read_line(line) != stream_status::ok) return;
            if (peer.write(replies[i]) != stream_status::ok) return;
        }
        while (!for_ever.empty()) {
            for (const char& byte : for_ever) {
                if (!wait(every) || peer.write({&byte, 1}) != stream_status::ok) return;
            }
        }
        static_cast<void>(peer.drain());
    };
}

black_hole::black_hole(const std::string& address) : listener_(listen_on(address)) {
    if (::listen(listener_.get(), 0) != 0) {
        throw std::system_error(errno, std::generic_category(), "listen");
    }
    for (int i = 0; i < 8; ++i) {
        try {
            waiting_.push_back(connect_to(local_address(listener_), 100ms));
        } catch (const std::system_error&) {
            return;  // full
        }
    }
    throw std::runtime_error("the queue of a listening socket does not fill");
}

}  // namespace callforward::testing
