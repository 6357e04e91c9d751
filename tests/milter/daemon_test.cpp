// The built callforward-milter as a process, between the MTA's player and a played next hop.
#include "tests/milter/played_next_hop.h"
#include "tests/support/mta.h"
#include "tests/support/process.h"
#include "tests/support/smtp_session.h"
#include "tests/support/socket.h"
#include "tests/support/temporary_folder.h"

#include <doctest/doctest.h>
#include <libmilter/mfdef.h>
#include <nlohmann/json.hpp>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <future>
#include <thread>

using namespace callforward::testing;
using namespace std::chrono_literals;
using callforward::tests::played_next_hop;

namespace {

using clock = std::chrono::steady_clock;

constexpr std::string_view rules = R"(rcpt nobody@* 550 5.1.1 no such user
rcpt percent@* 450 4.2.2 mailbox 100%% full %%s
rcpt hangup@* 421 4.3.2 closing
rcpt mixed@* 550 4.1.1 odd pair
rcpt control@* RAW 550 5.1.1 a\x07b\x1b[31m\xc3\xbc\r\n
rcpt slow@* DELAY 4000 250 ok
rcpt stall@* STALL
)";

class running_daemon {
public:
    explicit running_daemon(const std::string& configuration = {}, const std::string& socket = {})
        : socket_(socket.empty() ? "unix:" + folder_.file("m") : socket) {
        configure(configuration);
        process_.emplace(std::vector<std::string>{CALLFORWARD_MILTER,
                                                  "--config",
                                                  file(),
                                                  "--set",
                                                  "milter.socket=\"" + socket_ + '"',
                                                  "--set",
                                                  "control.socket=\"" + folder_.file("c") + '"',
                                                  "--set",
                                                  "log.target=\"stderr\"",
                                                  "--set",
                                                  "cache.store=\"memory\""});
        if (!process_->wait_for("ready")) throw std::runtime_error(process_->output());
    }
    // Ends it as an operator would: a sanitizer's finding is another exit code.
    ~running_daemon() {
        process_->send_signal(SIGTERM);
        CHECK(process_->wait_for_exit(40s) == 0);
    }
    running_daemon(const running_daemon&) = delete;
    running_daemon& operator=(const running_daemon&) = delete;
    void configure(const std::string& text) const { std::ofstream(file()) << text; }
    [[nodiscard]] std::string file() const { return folder_.file("callforward.toml"); }
    [[nodiscard]] const std::string& socket() const { return socket_; }
    process& program() { return *process_; }
    mta connected(mta_kind kind = mta_kind::postfix) const {
        mta made(kind);
        made.connect(socket_);
        made.negotiate();
        return made;
    }

private:
    temporary_folder folder_;
    std::string socket_;
    std::optional<process> process_;
};

smtp_session to(const played_next_hop& host, const std::string& local) {
    smtp_session session;
    session.rcpt = "<" + local + "@a.test>";
    session.rcpt_host = host.route();
    session.rcpt_addr = local + "@a.test";
    return session;
}

smtp_session to_as(mta_kind kind, const played_next_hop& host, const std::string& local) {
    auto session = to(host, local);
    if (kind == mta_kind::postfix) return session;
    // Sendmail tells no port: the mailer's name stands for it.
    session.rcpt_mailer = "played";
    session.rcpt_host = "[127.0.0.1]";
    return session;
}

std::string mailer_for(const played_next_hop& host) {
    return "[routing]\nmailers = { played = \"smtp:" +
           host.route().substr(host.route().rfind(':') + 1) + "\" }\n";
}

std::string told(const milter_reply& reply) {
    return reply.action == 'y' ? callforward::tests::without_trace_id(reply.text)
                               : std::string(1, reply.action);
}

// An inet address that is free now.
std::string free_inet() {
    const auto probe = listen_on("127.0.0.1:0");
    return "inet:" + std::to_string(local_port(probe)) + "@127.0.0.1";
}

std::string free_inet6() {
    const auto probe = listen_on("[::1]:0");
    return "inet6:" + std::to_string(local_port(probe)) + "@::1";
}

// Sessions whose RCPTs the daemon finds all at once: half of them ask for whom an answer is known,
// and half for whom the next hop says nothing. How many of the known ones were answered only after
// the time of the first of the others was up.
std::size_t known_that_waited(running_daemon& d, const played_next_hop& host) {
    constexpr std::size_t count = 40;
    std::vector<mta> sessions;
    for (std::size_t i = 0; i < count; ++i) {
        sessions.push_back(d.connected());
        CHECK(told(play(sessions.back(), to(host, "known"))) == "c");
    }
    d.program().send_signal(SIGSTOP);
    std::atomic<std::size_t> asking{0};
    std::vector<std::future<clock::time_point>> answers;
    for (std::size_t i = 0; i < count; ++i) {
        answers.push_back(std::async(std::launch::async, [&, i] {
            ++asking;
            const auto local = i % 2 == 0 ? "stall" + std::to_string(i) : std::string("known");
            const auto reply = told(play_rcpt(sessions[i], to(host, local)));
            CHECK((reply == "c") == (i % 2 == 1));
            return clock::now();
        }));
    }
    while (asking < count) std::this_thread::yield();
    d.program().send_signal(SIGCONT);
    std::vector<clock::time_point> known;
    auto first_in_vain = clock::time_point::max();
    for (std::size_t i = 0; i < count; ++i) {
        const auto answered = answers[i].get();
        if (i % 2 == 1) known.push_back(answered);
        if (i % 2 == 0) first_in_vain = std::min(first_in_vain, answered);
    }
    return static_cast<std::size_t>(std::count_if(
        known.begin(), known.end(), [&](const auto when) { return when > first_in_vain; }));
}

}  // namespace

TEST_CASE("both MTAs get verdicts over a unix and over an inet socket") {
    const played_next_hop host(rules);
    for (const std::string& socket : {std::string(), free_inet()}) {
        const running_daemon d(mailer_for(host), socket);
        for (const auto kind : {mta_kind::postfix, mta_kind::sendmail}) {
            auto m = d.connected(kind);
            CHECK(told(play(m, to_as(kind, host, "known"))) == "c");
            CHECK(told(play_rcpt(m, to_as(kind, host, "nobody"))) == "550 5.1.1 no such user");
            CHECK(told(play_rcpt(m, to_as(kind, host, "second"))) == "c");
            m.abort();
            CHECK(told(play(m, to_as(kind, host, "nobody"))) == "550 5.1.1 no such user");
            m.quit();
        }
    }
}

TEST_CASE("only what RCPT needs is negotiated") {
    const running_daemon d;
    for (const auto kind : {mta_kind::postfix, mta_kind::sendmail}) {
        const auto m = d.connected(kind);
        CHECK(m.negotiated().version == 6);
        CHECK(m.negotiated().actions == 0x100);  // SMFIF_SETSYMLIST
        CHECK(m.negotiated().protocol ==
              (SMFIP_NOCONNECT | SMFIP_NOHELO | SMFIP_NOBODY | SMFIP_NOHDRS | SMFIP_NOEOH |
               SMFIP_NOUNKNOWN | SMFIP_NODATA | SMFIP_NR_MAIL));
        CHECK(m.negotiated().symbols.size() == 1);
        CHECK(m.negotiated().symbols.at(milter_stage::rcpt).size() == 8);
    }
}

TEST_CASE("the MTA is asked who the client is only where a policy needs it") {
    struct row {
        const char* key;
        unsigned long helo;
    };
    for (const row& r :
         {row{"xclient = true", SMFIP_NR_HELO}, row{"proxy_protocol = true", SMFIP_NOHELO}}) {
        CAPTURE(r.key);
        const running_daemon d(std::string("[domain.\"one.test\"]\n") + r.key + '\n');
        const auto m = d.connected();
        CHECK((m.negotiated().protocol & (SMFIP_NR_HELO | SMFIP_NOHELO)) == r.helo);
        const auto& names = m.negotiated().symbols.at(milter_stage::rcpt);
        for (const char* const name : {"i", "{client_name}", "{client_port}"}) {
            CHECK(std::count(names.begin(), names.end(), name) == 1);
        }
    }
}

TEST_CASE("codes and texts reach the MTA in a form that it takes") {
    const played_next_hop host(rules);
    const running_daemon d;
    auto m = d.connected();
    // Doubled as libmilter asks for; the MTA makes one of the two.
    CHECK(told(play(m, to(host, "percent"))) == "450 4.2.2 mailbox 100%% full %%s");
    CHECK(told(play_rcpt(m, to(host, "hangup"))).starts_with("45"));
    CHECK(told(play_rcpt(m, to(host, "mixed"))).starts_with("550 5."));
    const std::string control = told(play_rcpt(m, to(host, "control")));
    CHECK(control.starts_with("550 5.1.1 a"));
    CHECK(std::all_of(control.begin(), control.end(), [](char c) { return c >= ' ' && c <= '~'; }));
}

TEST_CASE("the MAIL parameters of this transaction, and of no other, are sent on") {
    const played_next_hop host(
        "extension SIZE 100000\nextension SMTPUTF8\nextension 8BITMIME\n"
        "command MAIL*SIZE=1234* 552 5.3.4 too big\n");
    const running_daemon d;
    auto m = d.connected();
    auto session = to(host, "one");
    session.mail_parameters = {"SIZE=1234", "BODY=8BITMIME", "RET=HDRS"};
    const std::string first = told(play(m, session));
    CHECK(first.starts_with("55"));
    m.abort();
    CHECK(told(play(m, to(host, "two"))) == "c");
    CHECK(host.count("mail alice") == 0);
    CHECK(host.count("mail sender@example.org") >= 1);
}

TEST_CASE("a RCPT is answered in time whatever the next hop does, and the rest goes on") {
    const played_next_hop host(rules);
    const running_daemon d("[milter]\nanswer_within = \"500ms\"\n");
    auto m = d.connected();
    // The MTA's patience, of 30 s, would end before the next hop's does.
    CHECK(told(play(m, to(host, "stall"))).starts_with("450 4.2.0 "));
    const auto in_the_end = [&](const char* who) {
        std::string said;
        for (int i = 0; i < 60 && said != "c"; ++i) said = told(play_rcpt(m, to(host, who)));
        return said;
    };
    CHECK(in_the_end("known") == "c");
    CHECK(told(play_rcpt(m, to(host, "slow"))).starts_with("450 4.2.0 "));
    CHECK(in_the_end("slow") == "c");
    CHECK(host.count("rcpt slow") == 1);
}

TEST_CASE("a RCPT whose answer is known does not wait with those whose is not") {
    const played_next_hop host("rcpt stall* STALL\n");
    for (const std::string& socket : {std::string(), free_inet(), free_inet6()}) {
        CAPTURE(socket);
        running_daemon d("[milter]\nanswer_within = \"5s\"\n", socket);
        CHECK(known_that_waited(d, host) == 0);
        CHECK(d.program().output().find("cannot connect") == std::string::npos);
    }
}

TEST_CASE("beyond 10 s Postfix gets a sign of life, Sendmail never") {
    const played_next_hop host(rules);
    const running_daemon d(mailer_for(host) + "[milter]\nanswer_within = \"12s\"\n");
    const auto waits = [&](mta_kind kind) {
        auto m = d.connected(kind);
        m.patience(40s);
        return play(m, to_as(kind, host, "stall"));
    };
    auto sendmail = std::async(std::launch::async, waits, mta_kind::sendmail);
    const auto postfix = waits(mta_kind::postfix);
    CHECK(postfix.progress == 1);
    CHECK(told(postfix).starts_with("450 4.2.0 "));
    const auto other = sendmail.get();
    CHECK(other.progress == 0);
    CHECK(told(other).starts_with("450 4.2.0 "));
}

TEST_CASE("a RCPT without macros is let pass, and its line says so") {
    const played_next_hop host(rules);
    running_daemon d;
    auto m = d.connected();
    auto session = to(host, "nobody");
    session.rcpt_mailer = session.rcpt_host = "";
    CHECK(told(play(m, session)) == "c");
    const auto line = d.program().wait_for("rcpt=nobody@a.test");
    REQUIRE(line);
    CHECK(line->find(" reason=local class=skipped action=accept ") != std::string::npos);
}

TEST_CASE("TERM answers what is under way, puts off what is new, and ends with 0") {
    const played_next_hop host(rules);
    running_daemon d;
    auto idle = d.connected();
    CHECK(told(play(idle, to(host, "known"))) == "c");
    auto busy = std::async(std::launch::async, [&] {
        auto m = d.connected();
        return told(play(m, to(host, "slow")));
    });
    REQUIRE(host.wait_for("mail ", 2));
    d.program().send_signal(SIGTERM);
    REQUIRE(d.program().wait_for("stopping"));
    try {
        const std::string late = told(play_rcpt(idle, to(host, "known")));
        CHECK(late.starts_with("451 4.3.0 "));
    } catch (const mta_error&) {
        // It had answered everything and gone.
    }
    CHECK(busy.get() == "c");
    CHECK(d.program().wait_for_exit() == 0);
    CHECK_FALSE(std::filesystem::exists(d.socket().substr(5)));
}

TEST_CASE("a stalled next hop does not hold up the end for longer than answer_within") {
    const played_next_hop host(rules);
    running_daemon d("[milter]\nanswer_within = \"500ms\"\n");
    auto busy = std::async(std::launch::async, [&] {
        auto m = d.connected();
        return told(play(m, to(host, "stall")));
    });
    REQUIRE(host.wait_for("connect"));
    d.program().send_signal(SIGINT);
    CHECK(d.program().wait_for_exit(20s) == 0);  // the next hop would stall for a minute
    CHECK(busy.get().starts_with("450 4.2.0 "));
}

TEST_CASE("300 hangups in a burst lose neither the session nor the last configuration") {
    const played_next_hop host(rules);
    running_daemon d;
    auto m = d.connected();
    CHECK(told(play(m, to(host, "nobody"))).starts_with("550"));
    const auto from = d.program().output_size();
    d.configure("[policy]\nmode = \"monitor\"\n");
    for (int i = 0; i < 300; ++i) d.program().send_signal(i % 2 == 0 ? SIGHUP : SIGUSR1);
    REQUIRE(d.program().wait_for("configuration reloaded", 30s, from));
    CHECK(told(play_rcpt(m, to(host, "nobody"))) == "c");
    d.program().send_signal(SIGTERM);
    CHECK(d.program().wait_for_exit() == 0);
}

TEST_CASE("a bad reload is told with its place and changes nothing") {
    const played_next_hop host(rules);
    running_daemon d;
    auto m = d.connected();
    d.configure("[policy]\nmoode = \"off\"\n");
    d.program().send_signal(SIGHUP);
    const auto line = d.program().wait_for("reload failed");
    REQUIRE(line);
    CHECK(line->find(d.file() + ":2:1") != std::string::npos);
    CHECK(told(play(m, to(host, "nobody"))).starts_with("550"));
    d.configure("[milter]\nsocket_mode = \"0600\"\n");
    d.program().send_signal(SIGHUP);
    CHECK(
        d.program().wait_for("a changed key takes effect at the next start "
                             "key=milter.socket_mode"));
}

TEST_CASE("the line of a RCPT has its fields in order, in both formats, and cannot be forged") {
    const played_next_hop host("rcpt * 550 5.1.1 no\\x0d action=accept \"here\"\n");
    {
        running_daemon d;
        auto m = d.connected();
        CHECK(told(play(m, to(host, "x"))).starts_with("550 5.1.1 "));
        const auto line = d.program().wait_for(
            " rcpt=x@a.test from=sender@example.org "
            "client=192.0.2.10 domain=a.test route=");
        REQUIRE(line);
        CHECK(line->find(" stage=rcpt code=550 enhanced=5.1.1 outcome=undeliverable "
                         "reason=unknown_user class=undeliverable action=reject mode=enforce "
                         "source=probe elapsed_ms=") != std::string::npos);
        CHECK(line->find("action=accept \\\"here\\\"\"") != std::string::npos);
    }
    running_daemon d("[log]\nformat = \"json\"\n");
    auto m = d.connected();
    CHECK(told(play(m, to(host, "y"))).starts_with("550 5.1.1 "));
    const auto line = d.program().wait_for("y@a.test");
    REQUIRE(line);
    const auto parsed = nlohmann::json::parse(*line);
    CHECK(parsed.at("code") == 550);
    CHECK(parsed.at("action") == "reject");
    CHECK(parsed.at("tls").is_null());
}

TEST_CASE("sockets: mode, and what is told when there can be none") {
    {
        const running_daemon d("[milter]\nsocket_mode = \"0640\"\n");
        struct stat found {};
        REQUIRE(::stat(d.socket().c_str() + 5, &found) == 0);
        CHECK((found.st_mode & 07777) == 0640);
    }
    const temporary_folder folder;
    struct refusal {
        std::string setting;
        int code;
        std::string words;
    };
    for (const auto& r : {
             refusal{"milter.socket=\"unix:" + folder.file("no/m") + '"', 69, "cannot listen on"},
             refusal{"milter.socket_group=\"no-such-group\"", 78, "there is no group"},
             refusal{"milter.user=\"no-such-user\"", ::geteuid() == 0 ? 78 : 0, "there is no user"},
         }) {
        if (r.code == 0) continue;
        CAPTURE(r.setting);
        process p({CALLFORWARD_MILTER,
                   "--set",
                   "milter.socket=\"unix:" + folder.file("m") + '"',
                   "--set",
                   r.setting});
        CHECK(p.wait_for_exit() == r.code);
        CHECK(p.wait_for(r.words));
        CHECK_FALSE(std::filesystem::exists(folder.file("m")));
    }
}

TEST_CASE("an MTA that vanishes, or talks nonsense, harms nobody else") {
    const played_next_hop host(rules);
    const running_daemon d("[milter]\nanswer_within = \"20s\"\n");
    {
        auto gone = d.connected();
        gone.vanish();
    }
    const auto raw = connect_to(d.socket(), 5s);
    REQUIRE(::write(raw.get(), "GET / HTTP/1.0\r\n\r\n", 18) == 18);
    auto m = d.connected();
    CHECK(told(play(m, to(host, "nobody"))).starts_with("550"));
}
