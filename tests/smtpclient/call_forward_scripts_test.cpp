// Every script for real: call_forward against a server on the loopback that plays it.
#include "tests/smtpclient/caller.h"
#include "tests/smtpclient/dialogue_player.h"
#include "tests/support/script_server.h"
#include "tests/support/temporary_folder.h"

#include <doctest/doctest.h>

#include <filesystem>
#include <future>
#include <set>

using namespace callforward::smtpclient;
using namespace callforward::testing;
using namespace std::chrono_literals;

namespace {

script_server_options options_for(const std::string& listen) {
    script_server_options options;
    options.listen = listen;
    options.identity = shared_identity();
    return options;
}

struct outcome_of_play {
    std::string words;
    std::string mismatches;  // joined; "" is none
    bool finished = false;
};

bool stalls(const script& s) {
    return has_step(s, step_kind::stall);
}

outcome_of_play play_for_real(const script& s, const script_server_options& options) {
    const bool by_unix = options.listen.starts_with("unix:");
    if (by_unix) std::filesystem::remove(options.listen.substr(5));
    script_server server(s, options);
    caller calls;
    question q = question_of(s);
    next_hop hop;
    hop.protocol = protocol_of(s);
    if (by_unix) {
        hop.socket_path = options.listen.substr(5);
    } else {
        const bool six = options.listen.starts_with('[');
        hop.address = callforward::dns::ip_address::parse(six ? "::1" : "127.0.0.1");
        hop.port = server.port();
    }
    q.to.hops.push_back(hop);
    // Of every reply, on the slowest machine.
    change(q, [&](transport& by) { by.reply_timeout = stalls(s) ? 3s : 30s; });
    end_within(q, 40s);
    outcome_of_play got;
    got.words = calls.answer(std::move(q));
    calls.finish();
    server.stop();
    for (const auto& line : server.mismatches()) got.mismatches += line + '\n';
    got.finished = server.finished();
    return got;
}

void check_all(const std::string& listen, const std::function<bool(const script&)>& which) {
    std::vector<std::pair<const script*, std::future<outcome_of_play>>> plays;
    for (const auto& s : all_scripts()) {
        if (!which(s)) continue;
        // Who only waits can do so beside the others.
        const auto when = stalls(s) ? std::launch::async : std::launch::deferred;
        plays.emplace_back(&s, std::async(when, play_for_real, std::cref(s), options_for(listen)));
    }
    for (auto& [s, play] : plays) {
        CAPTURE(s->name);
        const auto got = play.get();
        CHECK(got.words == in_words(s->result));
        CHECK(got.mismatches == "");
        CHECK(got.finished);
    }
}

// The well-behaved scripts up to their answer, each beginning once.
std::vector<const script*> different_beginnings() {
    std::set<std::string> seen;
    std::vector<const script*> chosen;
    for (const auto& s : all_scripts()) {
        const std::size_t end = steps_until_answer(s);
        if (end == 0) continue;
        std::string beginning = s.setting("tls", "may");
        for (std::size_t i = 0; i + 1 < end; ++i) beginning += s.steps[i].source() + '\n';
        if (seen.insert(beginning).second) chosen.push_back(&s);
    }
    return chosen;
}

}  // namespace

TEST_CASE("every script comes to its result over IPv4") {
    check_all("127.0.0.1:0", [](const script&) { return true; });
}

TEST_CASE("every script comes to its result over IPv6") {
    check_all("[::1]:0", [](const script& s) { return !stalls(s); });
}

TEST_CASE("the LMTP scripts come to their results over a unix socket") {
    const temporary_folder folder;
    check_all("unix:" + folder.file("lmtp"),
              [](const script& s) { return protocol_of(s) == protocol::lmtp; });
}

TEST_CASE("a server that sends single bytes is understood") {
    for (const auto& s : all_scripts()) {
        // Of surplus bytes it matters whether they are here already when a reply is complete.
        if (stalls(s) || play(s).surplus) continue;
        CAPTURE(s.name);
        auto options = options_for("127.0.0.1:0");
        options.byte_by_byte = true;
        const auto got = play_for_real(s, options);
        CHECK(got.words == in_words(s.result));
        CHECK(got.mismatches == "");
    }
}

TEST_CASE(
    "a connection cut anywhere before the answer is undetermined, at the stage it was cut at") {
    std::size_t cuts = 0;
    for (const script* s : different_beginnings()) {
        for (std::size_t n = 0; n < steps_until_answer(*s); ++n, ++cuts) {
            CAPTURE(s->name);
            CAPTURE(n);
            auto options = options_for("127.0.0.1:0");
            options.cut_after = n;
            const auto got = play_for_real(*s, options);
            if (s->result.reason == "sender_refused" && got.words == in_words(s->result)) continue;
            const std::string stage = stage_after(*s, n);
            if (stage != "handshake") {
                CHECK(got.words == "undetermined disconnected " + stage);
            } else if (tls_of(*s) == tls_level::may && protocol_of(*s) != protocol::smtps) {
                // Again in clear, where the server waits for STARTTLS and leaves.
                CHECK(got.words.starts_with("undetermined "));
            } else {
                CHECK(got.words == "undetermined tls_failed handshake");
            }
        }
    }
    CHECK(cuts > 100);
}

TEST_CASE("of a real reply with extra bytes behind it nothing is believed") {
    const std::vector<std::string> extras{"250 2.1.5 injected\r\n", "550 5.1.1 injected\r\n", "2"};
    std::size_t tried = 0;
    for (const script* s : different_beginnings()) {
        for (std::size_t n = 1; n <= steps_until_answer(*s); ++n) {
            if (!ends_reply(s->steps[n - 1])) continue;
            for (const auto& extra : extras) {
                CAPTURE(s->name);
                CAPTURE(n);
                CAPTURE(extra);
                auto options = options_for("127.0.0.1:0");
                options.inject = script_server_options::injection{n, extra};
                const auto got = play_for_real(*s, options);
                CHECK(got.words.starts_with("undetermined protocol_error "));
                ++tried;
            }
        }
    }
    CHECK(tried > 100);
}
