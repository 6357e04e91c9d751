// What a cached recipient costs: no allocation to find it, and how many bytes to keep it.
#include "milter/verdicts/key.h"
#include "milter/verdicts/memory.h"

#include <doctest/doctest.h>
#include <malloc.h>

#include <atomic>
#include <cstdlib>
#include <new>
#include <string>

namespace {

std::atomic<std::size_t> allocations{0};
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
