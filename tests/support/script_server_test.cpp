#include "tests/support/script_server.h"

#include "tests/support/temporary_folder.h"

#include <doctest/doctest.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>

using namespace callforward::testing;
using namespace std::chrono_literals;

namespace {

// A client on a bounded stream; every helper returns what it got, or the status in words.
class client {
public:
    explicit client(const script_server& server) : stream_(connect_to(server.address(), 5s)) {
        stream_.expires_after(5s);
    }
    std::string line() {
        std::string got;
        const auto status = stream_.read_line(got);
        return status == stream_status::ok ? got : std::string(to_string(status));
    }
    void say(std::string_view text) { static_cast<void>(stream_.write(text)); }
    stream& raw() { return stream_; }

private:
    stream stream_;
};

script steps(const std::string& text) {
    return parse_script(text + "\n= undetermined disconnected rcpt\n", "t.smtp");
}

}  // namespace

TEST_CASE("a script is played over each kind of socket") {
    const temporary_folder folder;
    for (const std::string& where : {std::string("127.0.0.1:0"),
                                     std::string("[::1]:0"),
                                     std::string("127.0.0.7:0"),
                                     "unix:" + folder.file("s")}) {
        CAPTURE(where);
        script_server_options options;
        options.listen = where;
        script_server server(steps("S: 220 hi\nC: EHLO *\nS: 250-mx\nS: 250 PIPELINING\nC: QUIT"),
                             options);
        client peer(server);
        CHECK(peer.line() == "220 hi\r\n");
        peer.say("EHLO me.test\r\n");
        CHECK(peer.line() == "250-mx\r\n");
        CHECK(peer.line() == "250 PIPELINING\r\n");
        peer.say("QUIT\r\n");
        peer.raw().shut_writing();
        CHECK(peer.line() == "end of connection");
        server.stop();
        CHECK(server.finished());
        CHECK(server.mismatches().empty());
        CHECK(server.client_lines() == std::vector<std::string>{"EHLO me.test", "QUIT"});
        CHECK(server.connections() == 1);
    }
}

TEST_CASE("a client that says something else is noted and sent away") {
    script_server server(steps("S: 220 hi\nC: HELO x"));
    client peer(server);
    CHECK(peer.line() == "220 hi\r\n");
    peer.say("EHLO x\r\n");
    CHECK(peer.line() == "end of connection");
    server.stop();
    CHECK_FALSE(server.finished());
    CHECK(server.mismatches() ==
          std::vector<std::string>{"t.smtp:2: expected \"C: HELO x\", got \"EHLO x\""});
}

TEST_CASE("a line that ends in LF alone is a mismatch") {
    script_server server(steps("C: QUIT"));
    client peer(server);
    peer.say("QUIT\n");
    CHECK(peer.line() == "end of connection");
    server.stop();
    CHECK(server.mismatches() ==
          std::vector<std::string>{"t.smtp:1: expected \"C: QUIT\", got \"QUIT\\n\""});
}

TEST_CASE("pipelined lines are taken one by one") {
    script_server server(
        steps("C: MAIL *\nC: RCPT *\nS: 250 a\nS: 550 b\nC: QUIT\nS: 221 c\nCLOSE"));
    client peer(server);
    peer.say("MAIL FROM:<>\r\nRCPT TO:<a@b>\r\nQUIT\r\n");
    CHECK(peer.line() == "250 a\r\n");
    CHECK(peer.line() == "550 b\r\n");
    CHECK(peer.line() == "221 c\r\n");
    CHECK(peer.line() == "end of connection");
    server.stop();
    CHECK(server.mismatches().empty());
}

TEST_CASE("STARTTLS, and the certificate is the one that was asked for") {
    const certificate_authority authority;
    script_server_options options;
    options.identity = authority.issue("mx.next.test");
    for (const bool byte_by_byte : {false, true}) {
        options.byte_by_byte = byte_by_byte;
        script_server server(steps("S: 220 go\nTLS\nC: EHLO x\nS: 250 secret"), options);
        client peer(server);
        CHECK(peer.line() == "220 go\r\n");
        const auto context = client_context(authority.pem());
        CHECK(peer.raw().connect_tls(context.get(), "mx.next.test") == stream_status::ok);
        peer.say("EHLO x\r\n");
        CHECK(peer.line() == "250 secret\r\n");
        peer.say("QUIT\r\n");
        CHECK(peer.line() == "221 2.0.0 bye\r\n");
        CHECK(peer.line() == "end of connection");
        server.stop();
        CHECK(server.mismatches().empty());
        CHECK(server.handshakes() == 1);
        CHECK(server.server_names() == std::vector<std::string>{"mx.next.test"});
    }
}

TEST_CASE("a handshake the client gives up is no mismatch where nothing else was to come") {
    script_server server(steps("TLS\nNEXT\nS: 220 plain"));
    const auto context = client_context(certificate_authority().pem());
    {
        client peer(server);
        CHECK(peer.raw().connect_tls(context.get(), "mx.next.test") == stream_status::failed);
    }
    client again(server);
    CHECK(again.line() == "220 plain\r\n");
    server.stop();
    CHECK(server.connections() == 2);
    CHECK(server.handshakes() == 0);
    // With TLS 1.3 the server may be through before it hears of the client's refusal.
    CHECK(server.mismatches().empty());
}

TEST_CASE("garbage instead of a ServerHello fails the handshake") {
    script_server server(steps("S: 220 go\nTLS garbage"));
    client peer(server);
    CHECK(peer.line() == "220 go\r\n");
    const auto context = client_context({});
    CHECK(peer.raw().connect_tls(context.get(), "x") == stream_status::failed);
}

TEST_CASE("CLOSE ends with FIN, RESET with RST, STALL not at all") {
    {
        script_server server(
            steps("S: 220 a\nCLOSE\nNEXT\nS: 220 b\nC: QUIT\nRESET\nNEXT\nS: 220 c\nSTALL"));
        client closed(server);
        CHECK(closed.line() == "220 a\r\n");
        CHECK(closed.line() == "end of connection");
        client reset(server);
        CHECK(reset.line() == "220 b\r\n");
        reset.say("QUIT\r\n");
        pollfd waits{reset.raw().descriptor(), POLLIN, 0};
        REQUIRE(::poll(&waits, 1, 5000) == 1);
        char byte = 0;
        CHECK(::recv(reset.raw().descriptor(), &byte, 1, 0) == -1);
        CHECK(errno == ECONNRESET);
        client stalled(server);
        CHECK(stalled.line() == "220 c\r\n");
        stalled.say("EHLO x\r\n");
        stalled.raw().expires_after(50ms);
        CHECK(stalled.line() == "nothing in time");
    }
}

TEST_CASE("NEXT goes on with the client's next connection, though the first is kept open") {
    script_server server(steps("S: 220 first\nNEXT\nS: 220 second\nC: QUIT\nS: 221 bye"));
    client first(server);
    CHECK(first.line() == "220 first\r\n");
    client second(server);
    CHECK(second.line() == "220 second\r\n");
    CHECK(first.line() == "end of connection");
    second.say("QUIT\r\n");
    CHECK(second.line() == "221 bye\r\n");
    client third(server);
    CHECK(third.line() == "end of connection");
    server.stop();
    CHECK(server.mismatches() ==
          std::vector<std::string>{"t.smtp: a connection more than the script has"});
    CHECK(server.connections() == 3);
}

TEST_CASE("cut after a step, every connection meets the same end") {
    script_server_options options;
    options.cut_after = 3;
    script_server server(steps("S: 220 hi\nC: EHLO *\nS: 250 ok\nC: MAIL *\nS: 250 never"),
                         options);
    for (int i = 0; i < 2; ++i) {
        client peer(server);
        CHECK(peer.line() == "220 hi\r\n");
        peer.say("EHLO x\r\nMAIL FROM:<>\r\n");
        CHECK(peer.line() == "250 ok\r\n");
        CHECK(peer.line() == "end of connection");
    }
    server.stop();
    CHECK_FALSE(server.finished());
    CHECK(server.mismatches().empty());
}

TEST_CASE("cut after nothing closes at once") {
    script_server_options options;
    options.cut_after = 0;
    script_server server(steps("S: 220 hi"), options);
    client peer(server);
    CHECK(peer.line() == "end of connection");
}

TEST_CASE("extra bytes travel with the reply they follow") {
    script_server_options options;
    options.inject = script_server_options::injection{1, "250 injected\r\n"};
    script_server server(steps("S: 220 go\nTLS\nS: 250 inside"), options);
    client peer(server);
    CHECK(peer.line() == "220 go\r\n");
    CHECK(peer.raw().unread() == "250 injected\r\n");
    CHECK(peer.line() == "250 injected\r\n");
    const auto context = client_context({});
    CHECK(peer.raw().connect_tls(context.get(), "x") == stream_status::ok);
    CHECK(peer.line() == "250 inside\r\n");
}

TEST_CASE("a silent client is given up after the step time, a stopped server at once") {
    script_server_options options;
    options.step_time = 50ms;
    script_server server(steps("C: EHLO x"), options);
    client peer(server);
    CHECK(peer.line() == "end of connection");
    server.stop();
    CHECK(server.mismatches() ==
          std::vector<std::string>{"t.smtp:1: expected \"C: EHLO x\", got nothing in time"});

    const auto begin = std::chrono::steady_clock::now();
    {
        const script_server waiting(steps("S: 220 x\nC: EHLO x"));
        client other(waiting);
        CHECK(other.line() == "220 x\r\n");
    }
    CHECK(std::chrono::steady_clock::now() - begin < 20s);
}
