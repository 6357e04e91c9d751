// libcallforward as its users see it: through the public headers alone, with an asio of their own.
#include "tests/smtpclient/query_to_port.h"
#include "tests/support/script_server.h"
#include "tests/support/socket.h"
#include "tests/support/temporary_folder.h"

#include <asio/bind_cancellation_slot.hpp>
#include <asio/bind_executor.hpp>
#include <asio/cancellation_signal.hpp>
#include <asio/io_context.hpp>
#include <asio/strand.hpp>
#include <asio/use_future.hpp>
#include <callforward/async.h>
#include <doctest/doctest.h>

#include <atomic>
#include <future>
#include <stdexcept>
#include <thread>

using namespace callforward;
using namespace callforward::testing;
using namespace std::chrono_literals;

namespace {

script next_hop_saying(const std::string& answer) {
    return parse_script(
        "S: 220 mx.next.test\nC: EHLO client.test\nS: 250 hi\nC: MAIL *\nS: 250 "
        "ok\nC: RCPT *\nS: " +
            answer + "\nC: *\nS: 221 to RSET or QUIT\n= undetermined protocol_error rcpt\n",
        "next_hop");
}

script next_hop_with_tls() {
    return parse_script(
        "S: 220 mx.next.test\nC: EHLO *\nS: 250-hi\nS: 250 STARTTLS\nC: STARTTLS\nS: 220 go\n"
        "TLS\nC: EHLO *\nS: 250 hi\nC: MAIL *\nS: 250 ok\nC: RCPT *\nS: 250 2.1.5 fine\n"
        "C: *\nS: 221 to RSET or QUIT\n= deliverable accepted rcpt\n",
        "next_hop_with_tls");
}

script silent_next_hop() {
    return parse_script("S: 220 hi\nC: EHLO *\nSTALL\n= undetermined timed_out ehlo\n", "silent");
}

query_options to_port(std::uint16_t port) {
    return query_to_port<query_options>(port);
}

std::string complaint(const std::function<void()>& about) {
    try {
        about();
    } catch (const std::invalid_argument& e) {
        const std::string what = e.what();
        return what.substr(0, what.find(':'));
    }
    return "none";
}

}  // namespace

TEST_CASE("a blocking query brings every field that is known") {
    const script_server server(next_hop_saying("550 5.1.1 User unknown"));
    const auto got = query(to_port(server.port()));
    CHECK(got.rcptto == "bob@next.test");
    CHECK(got.mailfrom == "alice@sender.test");
    CHECK(got.outcome == outcome::undeliverable);
    CHECK(got.reason == "unknown_user");
    CHECK(got.stage == "rcpt");
    CHECK(got.code == 550);
    CHECK(got.enhanced == "5.1.1");
    CHECK(got.text == "User unknown");
    CHECK(got.address == "127.0.0.1");
    CHECK(got.port == server.port());
    CHECK_FALSE(got.tls);
    CHECK(got.mx.empty());
    CHECK(got.elapsed < 10s);
    CHECK(describe(got) == "unknown_user: 550 5.1.1 User unknown");
}

TEST_CASE("a query of a session brings the same as a blocking one") {
    session asking;
    const script_server server(next_hop_saying("250 2.1.5 fine"));
    const auto got = asking.query(to_port(server.port()));
    CHECK(got.outcome == outcome::deliverable);
    CHECK(describe(got) == "accepted: 250 2.1.5 fine");
}

TEST_CASE("a session calls no trace, which would be called on another thread") {
    session asking;
    const script_server one(next_hop_saying("250 2.1.5 fine"));
    const script_server other(next_hop_saying("250 2.1.5 fine"));
    std::atomic<int> lines{0};
    auto first = to_port(one.port());
    first.trace = [&](char, std::string_view) { ++lines; };
    auto second = to_port(other.port());
    second.trace = first.trace;
    CHECK(asking.query(first).outcome == outcome::deliverable);
    std::promise<outcome> told;
    asking.start(second, [&](const std::exception_ptr&, const query_result& result) {
        told.set_value(result.outcome);
    });
    CHECK(told.get_future().get() == outcome::deliverable);
    CHECK(lines == 0);
}

TEST_CASE("times without an end are a day in a session") {
    session_options forever;
    forever.idle = forever.host_penalty = forever.dns_timeout = std::chrono::milliseconds::max();
    session asking(forever);
    const script_server server(parse_script(
        "S: 220 mx.next.test\nC: EHLO *\nS: 250 hi\nC: MAIL *\nS: 250 ok\nC: RCPT *\nS: "
        "250 ok\nC: RSET\nS: 250 ok\nC: MAIL *\nS: 250 ok\nC: RCPT *\nS: 250 ok\n"
        "C: *\nS: 221 to RSET or QUIT\n= deliverable accepted rcpt\n",
        "twice"));
    for (int i = 0; i < 2; ++i) {
        auto options = to_port(server.port());
        options.rcptto = std::to_string(i) + "@next.test";
        options.timeout = 24h;
        CHECK(asking.query(options).outcome == outcome::deliverable);
    }
    CHECK(server.connections() == 1);
}

TEST_CASE("many threads ask, each for itself and all of one session") {
    constexpr int threads = 8;
    constexpr int each = 4;
    session shared;
    std::atomic<int> right{0};
    std::vector<std::thread> all;
    for (int i = 0; i < threads; ++i) {
        all.emplace_back([&, i] {
            for (int k = 0; k < each; ++k) {
                const bool exists = (i + k) % 2 == 0;
                const script_server server(next_hop_saying(exists ? "250 ok" : "550 5.1.1 no"));
                const auto options = to_port(server.port());
                const auto got = k % 2 == 0 ? shared.query(options) : query(options);
                if (got.port == server.port() &&
                    got.outcome == (exists ? outcome::deliverable : outcome::undeliverable)) {
                    ++right;
                }
            }
        });
    }
    for (auto& one : all) one.join();
    CHECK(right == threads * each);
}

TEST_CASE("without a reply the reason is told in our words") {
    const auto got = query(to_port(1));
    CHECK(got.outcome == outcome::undetermined);
    CHECK(got.reason == "connect_failed");
    CHECK_FALSE(got.code);
    CHECK(describe(got).starts_with("connect_failed: "));
}

TEST_CASE("what can not be asked is an invalid argument that names it, in every manner of asking") {
    auto options = to_port(1);
    const auto complaints = [&] {
        session asking;
        const std::string blocking = complaint([&] { static_cast<void>(query(options)); });
        CHECK(complaint([&] { static_cast<void>(asking.query(options)); }) == blocking);
        CHECK(complaint([&] {
                  static_cast<void>(asking.query_many({to_port(1), options}));
              }) == blocking);
        asio::io_context loop;
        auto future = async_query(asking, loop.get_executor(), options, asio::use_future);
        loop.run();
        CHECK(complaint([&] { static_cast<void>(future.get()); }) == blocking);
        return blocking;
    };
    options.tls = "always";
    CHECK(complaints() == "tls");
    options.tls = "fingerprint";
    CHECK(complaints() == "tls");
    options.tls_fingerprints = {"ab:cd"};
    CHECK(complaints() == "tls_fingerprints");
    options = to_port(1);
    options.tls_match = {"hostnames"};
    CHECK(complaints() == "tls_match");
    options = to_port(1);
    options.tls_ca_file = "/nowhere/ca.pem";
    CHECK(complaints() == "tls_ca_file");
    options.tls_ca_file = "/";
    CHECK(complaints() == "tls_ca_file");
    options.tls_ca_file = "/proc/self/status";
    CHECK(complaints() == "tls_ca_file");
    options = to_port(1);
    for (const auto time : {0ms, -1ms, 86400001ms, std::chrono::milliseconds::max()}) {
        options.timeout = time;
        CHECK(complaints() == "timeout");
    }
    options = to_port(1);
    for (const auto& addresses : {std::vector<std::string>{"here"}, {"127.0.0.1", "127.0.0.2"}}) {
        options.source_address = addresses;
        CHECK(complaints() == "source_address");
    }
    options = to_port(1);
    options.rcptto.clear();
    CHECK(complaints() == "rcptto");
}

TEST_CASE("a certificate is held to names, authorities and fingerprints that the caller gives") {
    const certificate_authority ca;
    const temporary_folder folder;
    ca.write(folder.path() / "ca.pem");
    const certificate shown = ca.issue("mx.next.test");
    struct row {
        std::string what;
        std::function<void(query_options&)> set;
        std::string by;  // "" where it is not accepted
    };
    const auto with = [](std::string level, std::vector<std::string> match, std::string file) {
        return [=](query_options& o) {
            o.tls = level;
            o.tls_match = match;
            o.tls_ca_file = file;
        };
    };
    const auto with_fingerprint = [](std::string digits) {
        return [=](query_options& o) {
            o.tls = "fingerprint";
            o.tls_fingerprints = {std::string(64, '0'), digits};
        };
    };
    const std::string file = folder.file("ca.pem");
    const std::vector<row> rows{
        {"its name", with("verify", {"mx.next.test"}, file), "ca"},
        {"sub-domains", with("secure", {".next.test"}, file), "ca"},
        {"another name", with("verify", {"mx.other.test"}, file), ""},
        {"the system's authorities", with("verify", {"mx.next.test"}, ""), ""},
        {"the certificate", with_fingerprint(shown.sha256()), "fingerprint"},
        {"its key", with_fingerprint(shown.public_key_sha256()), "fingerprint"},
        {"another certificate", with_fingerprint(std::string(64, '1')), ""},
    };
    for (const auto& r : rows) {
        for (const bool in_session : {false, true}) {
            CAPTURE(r.what);
            CAPTURE(in_session);
            script_server_options how;
            how.identity = shown;
            const script_server server(next_hop_with_tls(), how);
            query_options options = to_port(server.port());
            r.set(options);
            const query_result got =
                in_session ? session().query_many({options}).front() : query(options);
            CHECK(got.outcome == (r.by.empty() ? outcome::undetermined : outcome::deliverable));
            CHECK(got.reason == (r.by.empty() ? "certificate" : "accepted"));
            if (r.by.empty()) continue;
            REQUIRE(got.tls);
            CHECK(got.tls->verified);
            CHECK(got.tls->by == r.by);
        }
    }
}

TEST_CASE("questions side by side are each held to their own authorities") {
    const certificate_authority ca;
    const temporary_folder folder;
    ca.write(folder.path() / "ca.pem");
    certificate_authority().write(folder.path() / "other.pem");
    script_server_options how;
    how.identity = ca.issue("mx.next.test");
    std::vector<std::unique_ptr<script_server>> servers;
    std::vector<query_options> questions;
    for (const char* const name : {"ca.pem", "ca.pem", "other.pem", "ca.pem"}) {
        servers.push_back(std::make_unique<script_server>(next_hop_with_tls(), how));
        questions.push_back(to_port(servers.back()->port()));
        questions.back().tls = "verify";
        questions.back().tls_match = {"mx.next.test"};
        questions.back().tls_ca_file = folder.file(name);
    }
    session asking;
    std::vector<std::string> reasons;
    for (const auto& got : asking.query_many(questions)) reasons.push_back(got.reason);
    CHECK(reasons == std::vector<std::string>{"accepted", "accepted", "certificate", "accepted"});
}

TEST_CASE("many queries come back in the order of the questions") {
    std::vector<std::unique_ptr<script_server>> servers;
    std::vector<query_options> questions;
    for (int i = 0; i < 12; ++i) {
        servers.push_back(std::make_unique<script_server>(
            next_hop_saying(i % 3 == 0 ? "550 5.1.1 no " + std::to_string(i) : "250 ok")));
        questions.push_back(to_port(servers.back()->port()));
    }
    session asking;
    const auto got = asking.query_many(questions);
    REQUIRE(got.size() == questions.size());
    for (std::size_t i = 0; i < got.size(); ++i) {
        CHECK(got[i].port == questions[i].port);
        CHECK((got[i].outcome == outcome::undeliverable) == (i % 3 == 0));
    }
    CHECK(asking.query_many({}).empty());
}

TEST_CASE("an asynchronous query completes on its handler's executor") {
    const script_server server(next_hop_saying("250 ok"));
    asio::io_context loop;
    auto strand = asio::make_strand(loop);
    std::optional<query_result> got;
    async_query(loop, to_port(server.port()), asio::bind_executor(strand, [&](auto thrown, auto r) {
                    CHECK_FALSE(thrown);
                    CHECK(strand.running_in_this_thread());
                    got = std::move(r);
                }));
    loop.run();  // does not return before the handler has run
    REQUIRE(got);
    CHECK(got->outcome == outcome::deliverable);
}

// Under the thread sanitizer: the library's thread has left the context before run() returns.
TEST_CASE("the program's context may be gone as soon as its run() has returned") {
    session asking;
    for (int i = 0; i < 200; ++i) {
        bool done = false;
        {
            asio::io_context loop;
            auto handler = [&](auto, auto) { done = true; };
            async_query(asking,
                        loop.get_executor(),
                        to_port(1),
                        asio::bind_executor(asio::make_strand(loop), handler));
            loop.run();
        }
        REQUIRE(done);
    }
}

TEST_CASE("a cancelled query completes at once and once") {
    const script_server server(silent_next_hop());
    session asking;
    asio::io_context loop;
    asio::cancellation_signal cancel;
    int completions = 0;
    std::exception_ptr why;
    const auto begin = std::chrono::steady_clock::now();
    async_query(asking,
                loop.get_executor(),
                to_port(server.port()),
                asio::bind_cancellation_slot(cancel.slot(), [&](std::exception_ptr thrown, auto) {
                    ++completions;
                    why = std::move(thrown);
                }));
    loop.poll();
    CHECK(completions == 0);
    cancel.emit(asio::cancellation_type::terminal);
    loop.run();
    CHECK(completions == 1);
    CHECK(std::chrono::steady_clock::now() - begin < 5s);
    REQUIRE(why);
    try {
        std::rethrow_exception(why);
    } catch (const std::system_error& e) {
        CHECK(e.code() == asio::error::operation_aborted);
    }
}

TEST_CASE("a session that ends destroys the handlers of what is under way") {
    const script_server server(silent_next_hop());
    const auto witness = std::make_shared<bool>(false);
    asio::io_context loop;
    {
        session asking;
        async_query(asking,
                    loop.get_executor(),
                    to_port(server.port()),
                    [witness](const std::exception_ptr&, const query_result&) { *witness = true; });
        CHECK(witness.use_count() == 2);
    }
    loop.run();
    CHECK_FALSE(*witness);
    CHECK(witness.use_count() == 1);
}

TEST_CASE("the library tells its version") {
    CHECK(std::string(library_version()) == CALLFORWARD_TEST_VERSION);
}
