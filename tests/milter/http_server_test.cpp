#include "milter/control/http_server.h"

#include "tests/support/temporary_folder.h"

#include <doctest/doctest.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <fstream>
#include <future>
#include <stdexcept>
#include <string>

using namespace callforward;
using namespace callforward::milter::control;
using namespace std::chrono_literals;

namespace {

class client {
public:
    explicit client(const std::string& path)
        : descriptor_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
        connected_ =
            ::connect(descriptor_, reinterpret_cast<const sockaddr*>(&address), sizeof address) ==
            0;
        const timeval patience{20, 0};
        setsockopt(descriptor_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    }
    ~client() { ::close(descriptor_); }
    client(const client&) = delete;
    client& operator=(const client&) = delete;

    void say(std::string_view text) const {
        static_cast<void>(::send(descriptor_, text.data(), text.size(), MSG_NOSIGNAL));
    }
    // Until the server closes.
    [[nodiscard]] std::string hear() const {
        std::string all;
        std::array<char, 4096> bytes{};
        for (;;) {
            const ssize_t count = ::recv(descriptor_, bytes.data(), bytes.size(), 0);
            if (count < 0 && errno == EAGAIN) return all + "(and is not closed)";
            if (count <= 0) return all;
            all.append(bytes.data(), static_cast<std::size_t>(count));
        }
    }
    [[nodiscard]] std::string ask(std::string_view text) const {
        say(text);
        return hear();
    }

private:
    int descriptor_;
    bool connected_ = false;
};

// A responder keeps whoever asks for /held here until the test lets it go.
class latch {
public:
    void hold() {
        entered_.set_value();
        let_go_.get_future().wait();
    }
    void wait_until_held() { entered_.get_future().wait(); }
    void let_go() { let_go_.set_value(); }

private:
    std::promise<void> entered_;
    std::promise<void> let_go_;
};

class server {
public:
    explicit server(http_limits limits = {.body = 1000, .patience = 20s})
        : path_(folder_.file("s")),
          server_(listener::at_path(path_, std::nullopt), limits, [this](const http_request& r) {
              if (r.path == "/held") held_.hold();
              if (r.path == "/throw") throw std::runtime_error("on purpose");
              std::string said = r.method + ' ' + r.path + ' ' + r.body;
              for (const auto& [name, value] : r.parameters) said += ' ' + name + '=' + value;
              if (r.from.user) said += " uid " + std::to_string(*r.from.user);
              return http_response{.status = 200, .body = said, .type = "text/plain"};
          }) {}
    [[nodiscard]] std::string ask(std::string_view text) const { return client(path_).ask(text); }
    [[nodiscard]] const std::string& path() const { return path_; }
    [[nodiscard]] latch& held() { return held_; }

private:
    testing::temporary_folder folder_;
    std::string path_;
    latch held_;
    http_server server_;
};

constexpr std::string_view end = "Host: x\r\n\r\n";

std::string get(std::string_view path) {
    return "GET " + std::string(path) + " HTTP/1.1\r\n" + std::string(end);
}

std::string post(std::string_view path, std::string_view body) {
    return "POST " + std::string(path) +
           " HTTP/1.1\r\nHost: x\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" +
           std::string(body);
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool can_be_bounded = false;  // they need address space of their own
#else
constexpr bool can_be_bounded = true;
#endif

// For what it has and some stacks of threads more.
void bound_address_space() {
    constexpr rlim_t more = rlim_t{100} * 1024 * 1024;
    rlim_t pages = 0;
    std::ifstream("/proc/self/statm") >> pages;
    const rlim_t most = pages * static_cast<rlim_t>(sysconf(_SC_PAGESIZE)) + more;
    const rlimit limit{most, most};
    setrlimit(RLIMIT_AS, &limit);
}

}  // namespace

TEST_CASE("Where no thread is to be had any more, that is an exception") {
    if (!can_be_bounded) return;
    const pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        bound_address_space();
        try {
            const server s({.threads = 2000});
        } catch (const std::exception&) {
            _exit(0);
        }
        _exit(1);
    }
    int status = 0;
    REQUIRE(waitpid(child, &status, 0) == child);
    CHECK(status == 0);
}

TEST_CASE("A request is answered, once a connection, with who asked") {
    const server s;
    const std::string answer = s.ask(get("/v1/x?a=b%20c"));
    CHECK(answer.starts_with("HTTP/1.1 200"));
    CHECK(answer.find("GET /v1/x  a=b c uid " + std::to_string(getuid())) != std::string::npos);
    CHECK(answer.find("Cache-Control: no-store") != std::string::npos);
    CHECK(s.ask(post("/v1/forget", "abc")).find("POST /v1/forget abc") != std::string::npos);
}

TEST_CASE("The socket can be used by its owner and its group only") {
    const server s;
    struct stat found {};
    REQUIRE(stat(s.path().c_str(), &found) == 0);
    CHECK((found.st_mode & 07777) == 0660);
}

TEST_CASE("A body beyond the limit is refused, and any body where none is allowed") {
    const server s;
    CHECK(s.ask(post("/v1/forget", std::string(1001, 'x'))).starts_with("HTTP/1.1 413"));
    const server reads_nothing({.body = 0, .patience = 20s});
    CHECK(reads_nothing.ask(post("/v1/forget", "x")).starts_with("HTTP/1.1 405"));
    CHECK(
        reads_nothing.ask("DELETE / HTTP/1.1\r\n" + std::string(end)).starts_with("HTTP/1.1 405"));
}

TEST_CASE("What curl -d calls a form is a body like another, and what is one in parts is not") {
    const server s({.body = 20'000, .patience = 20s});
    const auto sent_as = [&](const std::string& type, const std::string& body) {
        return s.ask("POST /v1/forget HTTP/1.1\r\nHost: x\r\nContent-Type: " + type +
                     "\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body);
    };
    const std::string form = "application/x-www-form-urlencoded";
    const std::string body = "a=b&" + std::string(19'000, 'x') + ".";
    const std::string told = sent_as(form, body);
    CHECK(told.starts_with("HTTP/1.1 200"));
    CHECK(told.ends_with("POST /v1/forget " + body + " uid " + std::to_string(getuid())));
    CHECK(sent_as(form, std::string(20'001, 'x')).starts_with("HTTP/1.1 413"));
    CHECK(sent_as("multipart/form-data; boundary=x", "--x\r\n\r\na\r\n--x--\r\n")
              .starts_with("HTTP/1.1 415"));
}

TEST_CASE("A refusal says why, in JSON") {
    const server s;
    CHECK(s.ask(post("/v1/forget", std::string(1001, 'x')))
              .ends_with(R"({"error":"the body is too long; at most 1000 bytes are taken"})"));
    CHECK(s.ask(get("/throw"))
              .ends_with(R"({"error":"something failed in the daemon; its log says what"})"));
    CHECK(s.ask("DELETE / HTTP/1.1\r\n" + std::string(end))
              .ends_with(R"({"error":"this method is not allowed here"})"));
}

TEST_CASE("A body whose length is not told before it, or that is packed, is refused unread") {
    const server s;
    const std::string head = "POST /v1/forget HTTP/1.1\r\nHost: x\r\n";
    const std::string chunk = "3e9\r\n" + std::string(1001, 'x') + "\r\n0\r\n\r\n";
    for (const std::string_view coding : {"chunked", "Chunked", "gzip, chunked", "identity", "x"}) {
        CAPTURE(coding);
        const std::string field = "Transfer-Encoding: " + std::string(coding) + "\r\n";
        CHECK(s.ask(head + field + "\r\n" + chunk).starts_with("HTTP/1.1 411"));
        CHECK(s.ask(head + field + "Content-Length: 3\r\n\r\nabc").starts_with("HTTP/1.1 411"));
    }
    // Without a length there is no body, whatever follows.
    for (const std::size_t more : {0, 100'000}) {
        const auto told = s.ask(head + "\r\n" + std::string(more, 'x'));
        CHECK(told.starts_with("HTTP/1.1 200"));
        CHECK(told.find("POST /v1/forget") != std::string::npos);
        CHECK(told.find("xxx") == std::string::npos);
    }
    for (const std::string_view field : {"Content-Length: three", "Content-Length:", ": 3"}) {
        CAPTURE(field);
        const std::string answer = s.ask(head + std::string(field) + "\r\n\r\nabc");
        CHECK(answer.find("abc") == std::string::npos);
    }
    for (const std::string_view coding : {"gzip", "deflate", "br", "identity"}) {
        CAPTURE(coding);
        const std::string field = "Content-Encoding: " + std::string(coding) + "\r\n";
        CHECK(s.ask(head + field + "Content-Length: 3\r\n\r\nabc").starts_with("HTTP/1.1 415"));
    }
    CHECK(s.ask("PUT /v1/forget HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk)
              .starts_with("HTTP/1.1 405"));
    // The head ends for the library at an empty line after a bare line feed, and not for us.
    CHECK(s.ask("POST /v1/forget HTTP/1.1\r\nA: b\n\r\nContent-Length: 3\r\n\r\nabc").find("abc") ==
          std::string::npos);
    CHECK(s.ask(head + "Content-Length: 3\r\n\r\nabc").find("POST /v1/forget abc") !=
          std::string::npos);
}

TEST_CASE("A head that is too long, or asks for a range, is refused before it is parsed") {
    const server s;
    CHECK(s.ask(get("/" + std::string(9000, 'x'))).starts_with("HTTP/1.1 431"));
    CHECK(s.ask(get("/" + std::string(3000, 'x'))).starts_with("HTTP/1.1 400"));
    CHECK(s.ask("GET / HTTP/1.1\r\nrange: bytes=0-1\r\n" + std::string(end))
              .starts_with("HTTP/1.1 400"));
}

TEST_CASE("Nonsense is answered or dropped, and the server goes on") {
    const server s;
    for (const std::string_view nonsense :
         {"\r\n\r\n",
          "GET\r\n\r\n",
          "\x16\x03\x01\r\n\r\n",
          "GET / HTTP/9.9\r\n\r\n",
          "POST /v1/forget HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n"}) {
        CHECK(s.ask(nonsense).find("HTTP/1.1 200") == std::string::npos);
    }
    CHECK(s.ask(get("/")).starts_with("HTTP/1.1 200"));
}

TEST_CASE("What a responder throws is a 500, and the next request is answered") {
    const server s;
    CHECK(s.ask(get("/throw")).starts_with("HTTP/1.1 500"));
    CHECK(s.ask(get("/")).starts_with("HTTP/1.1 200"));
}

TEST_CASE("Clients that say nothing cost their thread only for a while") {
    const server s({.body = 0, .threads = 2, .waiting = 100, .patience = 1s});
    const client silent(s.path());
    const client slow(s.path());
    slow.say("GET / HT");
    CHECK(s.ask(get("/")).starts_with("HTTP/1.1 200"));
    CHECK(silent.hear().empty());
    CHECK(slow.hear().starts_with("HTTP/1.1 408"));
}

TEST_CASE("Who comes when too many wait is turned away") {
    server s({.body = 0, .threads = 1, .waiting = 1, .patience = 20s});
    const client first(s.path());
    first.say(get("/held"));
    s.held().wait_until_held();
    // One is being answered, one waits; the others are closed at once, and in their order.
    const client second(s.path());
    second.say(get("/second"));
    const client third(s.path());
    const client fourth(s.path());
    CHECK(third.hear().empty());
    CHECK(fourth.hear().empty());
    s.held().let_go();
    CHECK(first.hear().starts_with("HTTP/1.1 200"));
    CHECK(second.hear().starts_with("HTTP/1.1 200"));
}

TEST_CASE("A stale socket is replaced, anything else is left alone") {
    const testing::temporary_folder folder;
    const std::string path = folder.file("s");
    { const listener left_behind = listener::at_path(path, std::nullopt); }
    { const listener again = listener::at_path(path, std::nullopt); }
    const listener alive = listener::at_path(path, std::nullopt);
    CHECK_THROWS_WITH_AS(static_cast<void>(listener::at_path(path, std::nullopt)),
                         doctest::Contains("another process is listening there"),
                         std::runtime_error);
    CHECK_THROWS_AS(static_cast<void>(listener::at_path("/nonexistent/folder/s", std::nullopt)),
                    std::runtime_error);
}

TEST_CASE("An address for metrics is an address and a port") {
    CHECK(listener::at_address("127.0.0.1:0").port() != 0);
    for (const char* const text :
         {"", "9589", "localhost:9589", "127.0.0.1", "127.0.0.1:x", ":1"}) {
        CHECK_THROWS_AS(static_cast<void>(listener::at_address(text)), std::runtime_error);
    }
}
