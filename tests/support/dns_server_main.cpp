// test-dns-server --listen 127.0.0.1:0 ZONEFILE
//
// The tests' DNS server as a program. Prints "listening ADDRESS:PORT", reads ZONEFILE again on
// SIGHUP, ends on SIGTERM.
#include "tests/support/dns_server.h"

#include <csignal>
#include <exception>
#include <fstream>
#include <iostream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

std::string content(const std::string& path) {
    std::ifstream file(path);
    if (!file) throw std::runtime_error("cannot read " + path);
    std::ostringstream out;
    out << file.rdbuf();
    return out.str();
}

int serve(const std::string& listen, const std::string& path) {
    sigset_t waited_for;
    sigemptyset(&waited_for);
    for (const int s : {SIGHUP, SIGTERM, SIGINT}) sigaddset(&waited_for, s);
    // Before the server's thread starts, which takes the mask over.
    pthread_sigmask(SIG_BLOCK, &waited_for, nullptr);
    callforward::test::dns_server server(content(path), listen);
    std::cout << "listening " << server.address() << std::endl;
    for (int signal = 0; sigwait(&waited_for, &signal) == 0 && signal == SIGHUP;) {
        try {
            server.set(content(path));
        } catch (const std::exception& e) {
            std::cerr << "test-dns-server: " << e.what() << "; the old records stay\n";
        }
    }
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    const std::vector<std::string> arguments(argv + 1, argv + argc);
    try {
        if (arguments.size() == 1) return serve("127.0.0.1:0", arguments[0]);
        if (arguments.size() == 3 && arguments[0] == "--listen")
            return serve(arguments[1], arguments[2]);
        std::cerr << "usage: test-dns-server [--listen ADDRESS:PORT] ZONEFILE\n";
        return 64;
    } catch (const std::exception& e) {
        std::cerr << "test-dns-server: " << e.what() << '\n';
        return 1;
    }
}
