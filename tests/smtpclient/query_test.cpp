#include "smtpclient/query.h"

#include "tests/smtpclient/caller.h"
#include "tests/smtpclient/misbehaving_server.h"
#include "tests/smtpclient/query_to_port.h"
#include "tests/support/script_server.h"
#include "tests/support/temporary_folder.h"

#include <doctest/doctest.h>

#include <filesystem>

using namespace callforward::smtpclient;
using namespace callforward::testing;
using namespace std::chrono_literals;

namespace {

query_options to_port(std::uint16_t port) {
    return query_to_port<query_options>(port);
}

}  // namespace

TEST_CASE("a query says whether a mailbox takes mail") {
    script_server server(host_saying("250 2.1.5 ok"));
    const auto got = query(to_port(server.port()));
    CHECK(got.verdict.outcome() == outcome::deliverable);
    CHECK(got.verdict.address == "127.0.0.1");
    CHECK(got.verdict.port == server.port());
    CHECK(got.elapsed < 10s);
    server.stop();
    CHECK(server.client_lines().at(1) == "MAIL FROM:<alice@sender.test>");
}

TEST_CASE("a query says why a mailbox takes none") {
    const script_server server(host_saying("550 5.1.1 User unknown"));
    const auto got = query(to_port(server.port()));
    CHECK(in_words(got.verdict.finding, got.verdict.stage) == "undeliverable unknown_user rcpt");
    REQUIRE(got.verdict.reply);
    CHECK(got.verdict.reply->code == 550);
    CHECK(got.verdict.reply->text() == "User unknown");
}

TEST_CASE("a query without a sender asks as the null sender") {
    for (const char* const sender : {"", "<>"}) {
        script_server server(host_saying("250 ok"));
        auto options = to_port(server.port());
        options.mailfrom = sender;
        CHECK(query(options).verdict.outcome() == outcome::deliverable);
        server.stop();
        CHECK(server.client_lines().at(1) == "MAIL FROM:<>");
    }
}

TEST_CASE("a query speaks LMTP to a socket") {
    const temporary_folder folder;
    script_server_options where;
    where.listen = "unix:" + folder.file("lmtp");
    for (const std::string& host : {where.listen, "lmtp:" + where.listen}) {
        std::filesystem::remove(folder.file("lmtp"));
        script_server server(
            host_steps("S: 220 hi\nC: LHLO client.test\nS: 250 hi\nC: MAIL *\nS: 250 ok\nC: RCPT "
                       "*\nS: 250 ok"),
            where);
        auto options = to_port(0);
        options.host = host;
        const auto got = query(options);
        CHECK(got.verdict.outcome() == outcome::deliverable);
        CHECK(got.verdict.port == 0);
    }
}

TEST_CASE("a query comes from the address that was chosen for its family") {
    script_server server(host_saying("250 ok"));
    auto options = to_port(server.port());
    options.source_address = {"127.0.0.1", "2001:db8::1"};
    CHECK(query(options).verdict.outcome() == outcome::deliverable);
    options.source_address = {"192.0.2.77"};
    const auto got = query(options);
    CHECK(in_words(got.verdict.finding, got.verdict.stage) ==
          "undetermined connect_failed connect");
    CHECK(got.verdict.detail.find(" from 192.0.2.77: ") != std::string::npos);
}

TEST_CASE("a query ends by its timeout") {
    const misbehaving_server silent(drip("220 hi\r\n", "", 1ms));
    auto options = to_port(silent.port());
    options.timeout = 1s;
    const auto got = query(options);
    CHECK(in_words(got.verdict.finding, got.verdict.stage) == "undetermined timed_out ehlo");
    CHECK(got.elapsed >= 990ms);
    CHECK(got.elapsed < 10s);
}

TEST_CASE("a query shows the conversation to whom it is told") {
    script_server server(host_saying("250 ok"));
    std::vector<std::string> lines;
    auto options = to_port(server.port());
    options.trace = [&](char side, std::string_view line) {
        lines.push_back(std::string(1, side) + ": " + std::string(line));
    };
    static_cast<void>(query(options));
    REQUIRE(lines.size() >= 8);
    CHECK(lines[0].starts_with("*: connected to 127.0.0.1:"));
    CHECK(lines[1] == "S: 220 mx.next.test");
    CHECK(lines[2] == "C: EHLO client.test");
    CHECK(lines[7] == "S: 250 ok");
}

TEST_CASE("what is no mailbox is undeliverable without anybody being asked") {
    const misbehaving_server nobody(hang_up);
    for (const char* const address : {"bob",
                                      "bob@",
                                      "@next.test",
                                      "b ob@next.test",
                                      "bob@next.test\r\nDATA",
                                      "<bob@next.test",
                                      "bob@[127.0.0.1"}) {
        CAPTURE(address);
        auto options = to_port(nobody.port());
        options.rcptto = address;
        const auto got = query(options);
        CHECK(in_words(got.verdict.finding, got.verdict.stage) == "undeliverable bad_address none");
    }
    CHECK(nobody.connections() == 0);
}

TEST_CASE("what can not be asked is an invalid argument that names it") {
    const auto complaint = [](const std::function<void(query_options&)>& spoil) {
        auto options = to_port(1);
        spoil(options);
        try {
            static_cast<void>(query(options));
        } catch (const std::invalid_argument& e) {
            const std::string what = e.what();
            return what.substr(0, what.find(':'));
        }
        return std::string("none");
    };
    CHECK(complaint([](auto& o) { o.rcptto = ""; }) == "rcptto");
    CHECK(complaint([](auto& o) { o.mailfrom = "alice"; }) == "mailfrom");
    CHECK(complaint([](auto& o) { o.mailfrom = "a@b.test>\r\nDATA"; }) == "mailfrom");
    CHECK(complaint([](auto& o) { o.host = "a b"; }) == "host");
    CHECK(complaint([](auto& o) { o.host = "unix:relative"; }) == "host");
    for (const char* const host : {"smtp:[127.0.0.1]", "smtps:[127.0.0.1]"}) {
        CHECK(complaint([&](auto& o) {
                  o.host = host;
                  o.lmtp = true;
              }) == "lmtp");
    }
    CHECK(complaint([](auto& o) {
              o.host = "";  // mail exchangers speak SMTP
              o.lmtp = true;
          }) == "lmtp");
    CHECK(complaint([](auto& o) { o.helo = "a\r\nMAIL"; }) == "helo");
    CHECK(complaint([](auto& o) { o.helo = "[300.1.1.1]"; }) == "helo");
    CHECK(complaint([](auto& o) { o.helo = "["; }) == "helo");
    CHECK(complaint([](auto& o) { o.source_address = {"mx.test"}; }) == "source_address");
    CHECK(complaint([](auto& o) { o.source_address = {"::1", "::2"}; }) == "source_address");
}

TEST_CASE("queries on several threads do not meet") {
    std::vector<std::thread> threads;
    std::vector<std::string> words(8);
    for (std::size_t i = 0; i < words.size(); ++i) {
        threads.emplace_back([i, &words] {
            script_server server(host_saying(i % 2 == 0 ? "250 ok" : "550 5.1.1 no such user"));
            const auto got = query(to_port(server.port()));
            words[i] = in_words(got.verdict.finding, got.verdict.stage);
        });
    }
    for (auto& t : threads) t.join();
    for (std::size_t i = 0; i < words.size(); ++i) {
        CHECK(words[i] ==
              (i % 2 == 0 ? "deliverable accepted rcpt" : "undeliverable unknown_user rcpt"));
    }
}
