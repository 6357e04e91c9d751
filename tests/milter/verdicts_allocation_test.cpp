// What a cached recipient costs: no allocation from the RCPT to its log line, and how many bytes to
// keep it.
#include "milter/config.h"
#include "milter/log.h"
#include "milter/recipient_check.h"
#include "milter/verdicts/key.h"
#include "milter/verdicts/memory.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <malloc.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <new>
#include <string>
#include <vector>

namespace {

thread_local std::size_t allocations =
    0;  // of the thread that answers: others have work of their own
std::atomic<std::size_t> bytes_in_use{0};

void* counted(std::size_t size) {
    void* const memory = std::malloc(size);
    if (memory == nullptr) throw std::bad_alloc();
    ++allocations;
    bytes_in_use += malloc_usable_size(memory) + sizeof(std::size_t);  // and the heap's own word
    return memory;
}

void released(void* memory) {
    if (memory == nullptr) return;
    bytes_in_use -= malloc_usable_size(memory) + sizeof(std::size_t);
    std::free(memory);
}

}  // namespace

void* operator new(std::size_t size) {
    return counted(size);
}
void* operator new[](std::size_t size) {
    return counted(size);
}
void operator delete(void* memory) noexcept {
    released(memory);
}
void operator delete[](void* memory) noexcept {
    released(memory);
}
void operator delete(void* memory, std::size_t) noexcept {
    released(memory);
}
void operator delete[](void* memory, std::size_t) noexcept {
    released(memory);
}

using namespace callforward;
using namespace std::chrono_literals;
using milter::verdicts::memory;
using milter::verdicts::question_key;
using milter::verdicts::steady_clock;

namespace {

const steady_clock::time_point start{1000h};
const std::string fingerprint =
    "sender=original helo= port=25 tls=may tls_min=1.2 rules=0123456789abcdef";

smtpclient::question question_of(int n) {
    smtpclient::question q;
    q.recipient =
        smtpclient::mailbox::parse("firstname.lastname" + std::to_string(n) + "@department" +
                                   std::to_string(n % 500) + ".example.com")
            .value();
    q.sender = "somebody.who.sends@Elsewhere.example.net";
    q.parameters.size = 12345;
    q.parameters.body = "8BITMIME";
    std::string error;
    q.to.hops = {smtpclient::parse_next_hop("[mail.internal.example.com]:2525", error).value(),
                 smtpclient::parse_next_hop("[2001:db8::25]:25", error).value()};
    return q;
}

smtpclient::verdict verdict_of(int n, bool good) {
    smtpclient::verdict v;
    v.finding = good ? smtpclient::finding{smtpclient::verdict_class::deliverable,
                                           smtpclient::reason::accepted}
                     : smtpclient::finding{smtpclient::verdict_class::undeliverable,
                                           smtpclient::reason::unknown_user};
    const std::string who = "firstname.lastname" + std::to_string(n) + "@department" +
                            std::to_string(n % 500) + ".example.com";
    v.stage = smtpclient::stage::rcpt;
    v.reply = good ? smtpclient::reply{250, {"2.1.5 <" + who + "> recipient ok"}}
                   : smtpclient::reply{550,
                                       {"5.1.1 <" + who +
                                        ">: Recipient address rejected: User unknown in virtual "
                                        "mailbox table"}};
    v.host = "mail" + std::to_string(n % 1000) + ".internal.example.com";
    v.address = "2001:db8::" + std::to_string(n % 1000);
    v.port = 25;
    v.tls = smtpclient::tls_summary{"TLSv1.3", "TLS_AES_256_GCM_SHA384", false, ""};
    v.next_hop_names = {v.host, v.address, "banner.of.mail.internal.example.com"};
    return v;
}

std::size_t bytes_each(std::size_t count, bool good) {
    const std::size_t before = bytes_in_use;
    memory m{milter::cache_settings{}};
    for (std::size_t i = 0; i < count; ++i) {
        const int n = static_cast<int>(i);
        m.store(question_key(question_of(n), fingerprint), verdict_of(n, good), start);
    }
    const auto counts = m.size();
    // Shards are not filled evenly: a few of the last to come have pushed out a few of the first.
    const std::size_t kept = counts.deliverable + counts.undeliverable;
    CHECK(kept <= count);
    CHECK(kept > count * 98 / 100);
    return (bytes_in_use - before) / count;
}

}  // namespace

TEST_CASE("Finding what is known allocates nothing, of whatever class, and neither does a miss") {
    memory m{milter::cache_settings{}};
    for (int n = 0; n < 1000; ++n) {
        m.store(question_key(question_of(n), fingerprint), verdict_of(n, n % 2 == 0), start);
    }
    const auto good = question_of(500);
    const auto bad = question_of(501);
    const auto missing = question_of(5000);
    for (const auto* q : {&good, &bad, &missing}) {
        bool found = false;
        const std::size_t before = allocations;
        for (int i = 0; i < 100; ++i) {
            const question_key key(*q, fingerprint);
            const auto known = m.find(key, start + 1s);
            found = known.has_value();
        }
        CHECK(allocations == before);
        CHECK(found == (q != &missing));
    }
    const std::size_t before = allocations;
    const auto verdict = m.find(question_key(good, fingerprint), start + 1s)->verdict();
    CHECK(allocations == before);
    CHECK(verdict->host == "mail500.internal.example.com");
}

namespace {

// The log goes nowhere while it lives.
class silent_log {
public:
    silent_log() : before_(dup(STDERR_FILENO)) {
        const int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
        dup2(nowhere, STDERR_FILENO);
        close(nowhere);
        milter::log_settings settings;
        settings.target = milter::log_target::standard_error;
        milter::log::open(settings);
    }
    ~silent_log() {
        milter::log::close();
        dup2(before_, STDERR_FILENO);
        close(before_);
    }
    silent_log(const silent_log&) = delete;
    silent_log& operator=(const silent_log&) = delete;

private:
    int before_;
};

milter::envelope rcpt_to(const std::string& address, const std::string& host) {
    milter::envelope e;
    e.mta = {"Postfix 3.7.11", "mx.of.a.company.example.com"};
    e.queue_id = "4XyZabcdEFghij";
    e.client_address = "IPv6:2001:db8:1234:5678:9abc:def0:1234:5678";
    e.client_name = "a.client.with.a.long.name.example.net";
    e.client_port = "54321";
    e.mail = "<somebody.who.sends@elsewhere.example.net>";
    e.mail_parameters = {"SIZE=12345", "BODY=8BITMIME"};
    e.rcpt = '<' + address + '>';
    e.rcpt_mailer = "smtp";
    e.rcpt_host = host;
    e.rcpt_address = address;
    return e;
}

// The next RCPT of an SMTP session, as the door notes it: in memory that is there.
void next_in(milter::envelope& session, const milter::envelope& rcpt) {
    session.rcpt = rcpt.rcpt;
    session.rcpt_host = rcpt.rcpt_host;
    session.rcpt_address = rcpt.rcpt_address;
}

}  // namespace

TEST_CASE("A known recipient is looked up, decided on and logged without an allocation") {
    const silent_log quiet;
    const auto settings =
        std::make_shared<const milter::settings>(milter::parse_settings(R"([cache]
store = "memory"
[scope]
domains = ["department.example.com", ".example.com"]
exempt_clients = ["192.0.2.0/24", "2001:db8:ffff::/48"]
[routing]
virtual_aliases = ["list@department.example.com"]
[domain."listed.example.com"]
route = ["[mail.internal.example.com]:2525", "smtp:[2001:db8::25]:25"]
)",
                                                                        "test.toml"));
    milter::engine engine(*settings, 1);
    milter::recipient_check check(engine, settings);
    const milter::keep_waiting wait = [] { return true; };
    const auto allocations_of = [&](const std::vector<milter::envelope>& rcpts) {
        // The first two of a kind find no memory of one before: there are two destinations, where
        // the MTA sends and where is asked, that change places.
        milter::envelope session = rcpts.front();
        for (int i = 0; i < 2; ++i) {
            CHECK(check.check(session, wait).action == milter::action::accept);
        }
        const std::size_t before = allocations;
        std::size_t accepted = 0;
        std::size_t turn = 0;
        for (const auto& e : rcpts) {
            next_in(session, e);
            if (++turn % 10 == 0) session.mail[1] = static_cast<char>('a' + turn / 10);
            if (check.check(session, wait).action == milter::action::accept) ++accepted;
        }
        const std::size_t made = allocations - before;
        CHECK(accepted == rcpts.size());
        return made;
    };
    const std::string fixed = "[mail.internal.example.com]:2525";
    const auto now = milter::verdicts::moment::now();

    std::vector<milter::envelope> answered;
    for (int n = 100; n < 200; ++n) {
        const auto address = "firstname.lastname" + std::to_string(n) + "@department.example.com";
        smtpclient::question q;
        q.recipient = smtpclient::mailbox::parse(address).value();
        std::string error;
        q.to.hops = {smtpclient::parse_next_hop(fixed, error).value()};
        const auto key = engine.known().key_of(q, settings->default_policy.fingerprint);
        engine.known().store(key, q.recipient, verdict_of(n, true), now);
        answered.push_back(rcpt_to(address, fixed));
    }
    CHECK(allocations_of(answered) == 0);

    for (const std::string& host : {fixed,
                                    std::string("department.example.com"),
                                    std::string("[2001:db8::25], [second.internal.example.com]")}) {
        for (const char* domain : {"department.example.com", "listed.example.com"}) {
            CAPTURE(host);
            CAPTURE(domain);
            std::vector<milter::envelope> declared;
            for (int n = 300; n < 400; ++n) {
                const auto address = "firstname.lastname" + std::to_string(n) + '@' + domain;
                engine.known().declare(smtpclient::mailbox::parse(address).value(), now);
                declared.push_back(rcpt_to(address, host));
            }
            CHECK(allocations_of(declared) == 0);

            std::vector<milter::envelope> with_extension;
            for (int n = 300; n < 400; ++n) {
                const auto address = "firstname.lastname+" + std::to_string(n) + '@' + domain;
                engine.known().declare(smtpclient::mailbox::parse(address).value(), now);
                with_extension.push_back(rcpt_to(address, host));
            }
            CHECK(allocations_of(with_extension) == 0);
        }
    }
}

TEST_CASE("A million recipients fit into 200 MiB") {
    // The whole number is measured on request: it takes a while under a sanitizer.
    const char* const asked = std::getenv("CALLFORWARD_ENTRIES");
    const std::size_t count = asked != nullptr ? std::strtoul(asked, nullptr, 10) : 100000;
    const std::size_t deliverable = bytes_each(count, true);
    const std::size_t undeliverable = bytes_each(std::min<std::size_t>(count, 250000), false);
    MESSAGE("bytes for a deliverable recipient: " << deliverable << ", for an undeliverable one: "
                                                  << undeliverable);
    CHECK(deliverable <= 180);
    CHECK(undeliverable <= 400);
}
