#include "milter/tool/top_command.h"

#include "milter/tool/status_command.h"
#include "milter/tool/terminal.h"

#include <poll.h>
#include <sysexits.h>
#include <termios.h>
#include <unistd.h>

#include <csignal>
#include <iostream>

namespace callforward::tool {

namespace {

volatile std::sig_atomic_t ended = 0;

// The terminal as a screen of its own, with keys as they are pressed; as before at the end.
class screen {
public:
    screen() {
        reads_keys_ = tcgetattr(STDIN_FILENO, &before_) == 0;
        if (reads_keys_) {
            termios raw = before_;
            raw.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO);
            tcsetattr(STDIN_FILENO, TCSANOW, &raw);
        }
        std::cout << "\x1b[?1049h\x1b[?25l" << std::flush;
    }
    ~screen() {
        std::cout << "\x1b[?25h\x1b[?1049l" << std::flush;
        if (reads_keys_) tcsetattr(STDIN_FILENO, TCSANOW, &before_);
    }
    screen(const screen&) = delete;
    screen& operator=(const screen&) = delete;

    // True: somebody wants to go.
    [[nodiscard]] bool wait_a_second() const {
        constexpr int second = 1000;
        pollfd keys{reads_keys_ ? STDIN_FILENO : -1, POLLIN, 0};
        if (poll(&keys, 1, second) <= 0) return ended != 0;
        char key = 0;
        return read(STDIN_FILENO, &key, 1) != 1 || key == 'q' || key == 'Q';
    }

private:
    termios before_{};
    bool reads_keys_ = false;
};

std::string frame(const daemon_client& daemon) {
    const json status = daemon.get("/v1/status");
    const json hosts = daemon.get("/v1/hosts");
    return top_text(status, hosts, terminal_columns(), terminal_rows(), wants_colours());
}

}  // namespace

int run_top(const daemon_options& o) {
    const daemon_client daemon(o);
    if (o.json || isatty(STDOUT_FILENO) == 0) {
        const json status = daemon.get("/v1/status");
        const json hosts = daemon.get("/v1/hosts");
        if (o.json) {
            std::cout << json{{"status", status}, {"hosts", hosts}}.dump() << '\n';
        } else {
            std::cout << status_text(status, false) << '\n'
                      << hosts_text(hosts, output_columns(), false);
        }
        return EX_OK;
    }
    static_cast<void>(daemon.get("/v1/status"));  // an error is better seen on the usual screen
    for (const int number : {SIGINT, SIGTERM, SIGHUP}) std::signal(number, [](int) { ended = 1; });
    const screen own;
    do {
        const std::string shown = frame(daemon);
        std::cout << "\x1b[H" << shown << std::flush;
    } while (ended == 0 && !own.wait_a_second());
    return EX_OK;
}

}  // namespace callforward::tool
