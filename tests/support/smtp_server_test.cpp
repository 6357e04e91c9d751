#include "tests/support/certificates.h"
#include "tests/support/process.h"
#include "tests/support/stream.h"
#include "tests/support/temporary_folder.h"

#include <doctest/doctest.h>
#include <signal.h>

#include <fstream>
#include <iterator>

using namespace callforward::testing;
using namespace std::chrono_literals;

namespace {

constexpr std::string_view plain_rules =
    "extension PIPELINING\n"
    "extension STARTTLS\n"
    "rcpt known@a.test 250 2.1.5 ok\n"
    "rcpt *@slow.test DELAY 300 250 2.1.5 slow\n"
    "rcpt *@drop.test CLOSE\n"
    "rcpt *@reset.test RESET\n"
    "rcpt *@stall.test STALL\n"
    "rcpt * 550 5.1.1 <%r>: user unknown\n";

// The program with its files, and clients for it.
class fixture {
public:
    explicit fixture(std::string_view rules = plain_rules) {
        write_rules(rules);
        server_.emplace(std::vector<std::string>{CALLFORWARD_TEST_SMTP_SERVER,
                                                 "--listen",
                                                 "127.0.0.1:0",
                                                 "--listen",
                                                 "[::1]:0",
                                                 "--unix",
                                                 folder_.file("lmtp"),
                                                 "--listen-smtps",
                                                 "127.0.0.1:0",
                                                 "--log",
                                                 folder_.file("log"),
                                                 "--write-ca",
                                                 folder_.file("ca.pem"),
                                                 folder_.file("rules")});
        for (int i = 0; i < 4; ++i) {
            const auto from =
                addresses_.empty() ? 0 : server_->output().find(addresses_.back()) + 1;
            const auto line = server_->wait_for(
                "listening ", 30s, from == 0 ? 0 : server_->output().find('\n', from) + 1);
            REQUIRE(line);
            addresses_.push_back(line->substr(std::string("listening ").size()));
        }
    }
    void write_rules(std::string_view rules) { std::ofstream(folder_.file("rules")) << rules; }
    process& server() { return *server_; }
    [[nodiscard]] std::string text_of(const std::string& name) const {
        std::ifstream in(folder_.file(name));
        return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
    }
    [[nodiscard]] stream client(std::size_t listener = 0) const {
        stream made(connect_to(addresses_.at(listener), 30s));
        made.expires_after(30s);
        return made;
    }

private:
    temporary_folder folder_;
    std::optional<process> server_;
    std::vector<std::string> addresses_;
};

std::string next_line(stream& from) {
    std::string line;
    const auto status = from.read_line(line);
    return status == stream_status::ok ? line : std::string(to_string(status));
}

std::string ask(stream& to, std::string_view text) {
    CHECK(to.write(text) == stream_status::ok);
    return next_line(to);
}

void greet(stream& client) {
    CHECK(next_line(client) == "220 mx.next.test ESMTP\r\n");
    std::string reply = ask(client, "EHLO me.test\r\n");
    while (reply.starts_with("250-")) reply = next_line(client);
    CHECK(reply.starts_with("250 "));
}

}  // namespace

TEST_CASE("the server answers pipelined commands in order and logs what it was asked") {
    fixture f;
    for (const std::size_t listener : {0, 1, 2}) {
        auto client = f.client(listener);
        greet(client);
        CHECK(ask(client,
                  "MAIL FROM:<s@x>\r\nRCPT TO:<known@a.test>\r\nRCPT TO:<y@slow.test>\r\nRCPT "
                  "TO:<z@a.test>\r\nQUIT\r\n") == "250 2.1.0 ok\r\n");
        CHECK(next_line(client) == "250 2.1.5 ok\r\n");
        CHECK(next_line(client) == "250 2.1.5 slow\r\n");
        CHECK(next_line(client) == "550 5.1.1 <z@a.test>: user unknown\r\n");
        CHECK(next_line(client) == "221 2.0.0 bye\r\n");
        CHECK(next_line(client) == "end of connection");
    }
    f.server().send_signal(SIGTERM);
    CHECK(f.server().wait_for_exit() == 0);
    CHECK(
        f.text_of("log").starts_with("connect\nehlo me.test\nmail s@x\nrcpt known@a.test 250\nrcpt "
                                     "y@slow.test 250\nrcpt z@a.test 550\nquit\n"));
}

TEST_CASE("the server drops, resets, and stalls where a rule says so") {
    fixture f;
    for (const std::string where : {"drop", "reset"}) {
        auto client = f.client();
        greet(client);
        CHECK(ask(client, "MAIL FROM:<>\r\n").starts_with("250"));
        CHECK(ask(client, "RCPT TO:<x@" + where + ".test>\r\n") == "end of connection");
    }
    auto client = f.client();
    greet(client);
    CHECK(ask(client, "MAIL FROM:<>\r\n").starts_with("250"));
    client.expires_after(50ms);
    CHECK(ask(client, "RCPT TO:<x@stall.test>\r\n") == "nothing in time");
}

TEST_CASE("the server speaks TLS after STARTTLS and from the first byte") {
    fixture f;
    const auto context = client_context(f.text_of("ca.pem"));
    auto client = f.client();
    greet(client);
    // What was sent in plain text behind STARTTLS must not be answered under TLS.
    CHECK(ask(client, "STARTTLS\r\nVRFY x\r\n").starts_with("220"));
    CHECK(client.connect_tls(context.get(), "mx.next.test") == stream_status::ok);
    CHECK(ask(client, "NOOP\r\n").starts_with("250"));
    CHECK(ask(client, "STARTTLS\r\n").starts_with("502"));
    auto other = f.client(3);
    CHECK(other.connect_tls(context.get(), "mx.next.test") == stream_status::ok);
    greet(other);
    CHECK(ask(other, "QUIT\r\n").starts_with("221"));
    CHECK(next_line(other) == "end of connection");
}

TEST_CASE("SIGHUP reads the rules again, and bad ones change nothing") {
    fixture f("greeting 220 one\n");
    const auto greeting = [&] {
        auto client = f.client();
        return next_line(client);
    };
    CHECK(greeting() == "220 one\r\n");
    f.write_rules("greeting 554 two\n");
    f.server().send_signal(SIGHUP);
    REQUIRE(f.server().wait_for("reloaded"));
    CHECK(greeting() == "554 two\r\n");
    f.write_rules("greting 220 three\n");
    f.server().send_signal(SIGHUP);
    REQUIRE(f.server().wait_for("unknown rule greting"));
    CHECK(greeting() == "554 two\r\n");
}

TEST_CASE("a thousand clients are served at once") {
    fixture f;
    std::vector<stream> clients;
    for (int i = 0; i < 1000; ++i) clients.push_back(f.client());
    for (auto& client : clients) {
        CHECK(client.write("EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<x@slow.test>\r\n") ==
              stream_status::ok);
    }
    for (auto& client : clients) {
        std::string line;
        while (!line.starts_with("250 2.1.5 slow")) {
            line = next_line(client);
            REQUIRE(line.starts_with('2'));
        }
    }
}

TEST_CASE("wrong arguments are a usage error") {
    process none({CALLFORWARD_TEST_SMTP_SERVER});
    CHECK(none.wait_for_exit() == 64);
    process missing(
        {CALLFORWARD_TEST_SMTP_SERVER, "--listen", "127.0.0.1:0", "/nonexistent/rules"});
    CHECK(missing.wait_for_exit() == 1);
}
