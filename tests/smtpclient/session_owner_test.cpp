// Sessions that a next hop was told a client of: each carries that client's questions only.
#include "tests/smtpclient/caller.h"
#include "tests/smtpclient/crowd.h"
#include "tests/smtpclient/loop_server.h"
#include "tests/support/socket.h"

#include <doctest/doctest.h>

#include <array>
#include <set>
#include <string_view>

using namespace callforward;
using namespace callforward::smtpclient;
using namespace callforward::testing;
using namespace std::chrono_literals;

namespace {

question of_client(const std::string& hop,
                   const std::string& local_part,
                   const std::string& address) {
    question q = question_for(hop, local_part);
    change(q, [](transport& by) { by.xclient = true; });
    q.client.emplace();
    q.client->address = dns::ip_address::parse(address).value();
    return q;
}

std::string introduced(loop_server::session& s, const std::string& command) {
    if (command.starts_with("EHLO")) {
        return "250-mx.next.test\r\n250-PIPELINING\r\n250 XCLIENT ADDR\r\n";
    }
    if (command == "XCLIENT ADDR=192.0.2.66") return "554 5.7.1 client refused\r\n";
    if (command.starts_with("XCLIENT")) return "220 mx.next.test\r\n";
    return pipelining(s, command);
}

std::string told(crowd& all, const question& q) {
    auto& asker = all.ask(q);
    all.run();
    return asker.words();
}

}  // namespace

TEST_CASE("clients have sessions of their own, and come back to them") {
    crowd all(kept_sessions());
    const loop_server server(all.loop, introduced);
    CHECK(told(all, of_client(server.hop(), "known1", "192.0.2.1")) == "deliverable accepted rcpt");
    CHECK(told(all, of_client(server.hop(), "nobody", "192.0.2.2")) ==
          "undeliverable unknown_user rcpt");
    CHECK(told(all, of_client(server.hop(), "known3", "192.0.2.1")) == "deliverable accepted rcpt");
    REQUIRE(server.sessions().size() == 2);
    CHECK(server.sessions()[0]->count("XCLIENT ADDR=192.0.2.1") == 1);
    CHECK(server.sessions()[0]->recipients == 2);
    CHECK(server.sessions()[1]->count("XCLIENT ADDR=192.0.2.2") == 1);
}

TEST_CASE("without a client no session is introduced") {
    crowd all(kept_sessions());
    const loop_server server(all.loop, introduced);
    question q = of_client(server.hop(), "known1", "192.0.2.1");
    q.client.reset();
    CHECK(told(all, q) == "deliverable accepted rcpt");
    CHECK(server.sessions().front()->count("XCLIENT") == 0);
}

TEST_CASE("more clients than connections are served one after the other") {
    session_limits limits = kept_sessions();
    limits.connections_per_host = 3;
    crowd all(limits);
    const loop_server server(all.loop, introduced, 2ms);
    for (int i = 0; i < 60; ++i) {
        const std::string address = "192.0.2." + std::to_string(1 + i % 20);
        static_cast<void>(all.ask(of_client(server.hop(), "known" + std::to_string(i), address)));
    }
    all.run();
    CHECK(all.wrong() == 0);
    CHECK(server.most_open() <= 3);
    CHECK(server.recipients() >= 60);
    CHECK(server.recipients() <= 120);  // more than 60 where the machine stalls
    for (const auto& session : server.sessions()) CHECK(session->count("XCLIENT") == 1);
}

TEST_CASE("a client that is refused keeps nobody else from being answered") {
    crowd all(kept_sessions());
    const loop_server server(all.loop, introduced, 2ms);
    for (int i = 0; i < 12; ++i) {
        const std::string address = i % 3 == 0 ? "192.0.2.66" : "192.0.2.1";
        static_cast<void>(all.ask(of_client(server.hop(), "known" + std::to_string(i), address)));
    }
    all.run();
    std::size_t refused = 0;
    std::size_t accepted = 0;
    for (const auto& asker : all.askers()) {
        if (asker.words() == "undetermined client_refused xclient") ++refused;
        if (asker.accepted()) ++accepted;
    }
    CHECK(refused == 4);
    CHECK(accepted == 8);
}

TEST_CASE("all who wait for a client that is refused are told why in their traces") {
    crowd all(kept_sessions());
    const loop_server server(all.loop, introduced, 2ms);
    std::array<std::string, 3> heard;
    for (auto& lines : heard) {
        question q = of_client(server.hop(), "known1", "192.0.2.66");
        q.trace = [&lines](char, std::string_view line) { lines.append(line) += '\n'; };
        static_cast<void>(all.ask(std::move(q)));
    }
    all.run();
    for (const auto& lines : heard) CHECK(lines.find("client refused") != std::string::npos);
}

TEST_CASE("a host that is away is away for every client") {
    session_limits limits = kept_sessions();
    limits.host_penalty = 10s;
    crowd all(limits);
    const std::string nowhere = "127.0.0.1:" + std::to_string(local_port(listen_on("127.0.0.1:0")));
    const question first = of_client(nowhere, "known1", "192.0.2.1");
    const question second = of_client(nowhere, "known1", "192.0.2.2");
    CHECK(told(all, first) == "undetermined connect_failed connect");
    CHECK(told(all, second) == "undetermined host_penalty connect");
}

TEST_CASE("the PROXY protocol's header comes before the greeting, on each connection") {
    crowd all(kept_sessions());
    std::set<std::string> headers;
    const loop_server server(all.loop, [&](auto& s, const std::string& command) -> std::string {
        // The header has three line ends of its own; what is behind them comes with the EHLO.
        if (s.commands.empty() || command.empty()) return "";
        if (command == std::string(1, '\0')) return "220 mx.next.test\r\n";
        if (!command.ends_with("EHLO client.test")) return one_by_one(s, command);
        headers.insert(command);
        return "250 mx.next.test\r\n";
    });
    question q = of_client(server.hop(), "known1", "192.0.2.1");
    change(q, [](transport& by) {
        by.xclient = false;
        by.proxy_protocol = true;
    });
    CHECK(told(all, q) == "deliverable accepted rcpt");
    q.client->port = 7;
    CHECK(told(all, q) == "deliverable accepted rcpt");
    CHECK(server.sessions().size() == 2);
    CHECK(headers.size() == 2);
}
