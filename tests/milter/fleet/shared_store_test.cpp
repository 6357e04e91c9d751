#include "tests/milter/fleet/played_store.h"
#include "tests/milter/stored_verdicts.h"

#include <doctest/doctest.h>

#include <chrono>
#include <csignal>
#include <optional>

using namespace callforward;
using namespace std::chrono_literals;
using milter::fleet::findings;
using milter::fleet::kept_as;
using milter::fleet::question_names;
using milter::fleet::store_options;
using milter::fleet::trouble;
using milter::fleet::writing;
using milter::verdicts::change;
using milter::verdicts::record;
using tests::edge_loop;
using tests::redis_server;

namespace {

const milter::fleet::change_lives lives{24h, 1h};

store_options patient() {
    store_options o;
    o.timeout = 10s;  // the machine may be busy
    o.first_pause = 5ms;
    o.stalled_after = 20s;
    o.lease = 30s;
    return o;
}

smtpclient::mailbox mailbox_of(const std::string& rcpt) {
    return smtpclient::mailbox::parse(rcpt).value();
}

question_names names_in(edge_loop& edge, const std::string& rcpt = "user3@a3.test") {
    smtpclient::question q;
    q.recipient = mailbox_of(rcpt);
    q.sender = "s@sender.test";
    q.to.recipient_mx = true;
    return edge.store().names_of(q, "policy");
}

struct two_edges {
    redis_server redis;
    edge_loop one{redis.path(), patient()};
    edge_loop two{redis.path(), patient()};

    two_edges() {
        REQUIRE(one.becomes(trouble::none));
        REQUIRE(two.becomes(trouble::none));
    }
    // What the first has been told is in the store.
    void settle() { static_cast<void>(one.get(one.store().find(names_in(one)))); }
    [[nodiscard]] writing write(change::kind what, const std::string& name) {
        std::vector<change> changes{{what, name}};
        return one.get(one.store().write(std::move(changes), lives));
    }
    findings found(const std::string& rcpt = "user3@a3.test") {
        return two.get(two.store().find(names_in(two, rcpt))).value();
    }
};

}  // namespace

TEST_CASE("what one edge puts the other finds, with its age, and for its time") {
    two_edges e;
    e.one.store().put(names_in(e.one), kept_as::record, {}, {}, tests::record_of_number(3), 2h);
    e.settle();
    const findings found = e.found();
    REQUIRE(found.records.size() == 1);
    CHECK(found.records[0].as == kept_as::record);
    CHECK(tests::is_record_of(3, found.records[0].record));
    CHECK(found.records[0].record.expires - found.records[0].record.learnt == 1h);
    CHECK(found.records[0].age < 60s);
    const auto left = std::stoll(e.redis.ask({"PTTL", names_in(e.one).record}));
    CHECK(left <= 3 * 3600 * 1000);
    CHECK(left > 3 * 3600 * 1000 - 60000);
    CHECK(e.found("other@a3.test").records.empty());
}

TEST_CASE("the age of a record is what the store's clock says, not the edge's") {
    two_edges e;
    e.one.store().put(names_in(e.one), kept_as::record, {}, {}, tests::record_of_number(3), 2h);
    e.settle();
    // As if an hour and a half had gone by there.
    CHECK(e.redis.ask({"PEXPIRE", names_in(e.one).record, std::to_string(90 * 60 * 1000)}) == "1");
    CHECK(e.found().records[0].age >= 90min);
    CHECK(e.found().records[0].age < 91min);
    CHECK(e.redis.ask({"PERSIST", names_in(e.one).record}) == "1");
    CHECK(e.found().records.empty());
}

TEST_CASE("what is put while it is looked for does not look younger than it is") {
    two_edges e;
    CHECK(e.redis.ask({"CONFIG", "SET", "slowlog-log-slower-than", "0"}) == "OK");
    static_cast<void>(e.found());
    const std::string newest_first = e.redis.ask({"SLOWLOG", "GET", "50"});
    const auto record = newest_first.find("MGET");
    const auto life = newest_first.find("PTTL");
    REQUIRE(record != std::string::npos);
    REQUIRE(life != std::string::npos);
    CHECK(record < life);
}

TEST_CASE("what is found is as of the moment in which the store was asked") {
    two_edges e;
    const auto looked_at = [&](const auto& look) {
        const auto before = std::chrono::steady_clock::now();
        e.redis.send_signal(SIGSTOP);
        std::optional<std::chrono::steady_clock::time_point> asked;
        look([&](const findings& found) { asked = found.asked; });
        CHECK_FALSE(e.one.within(20ms, [&] { return asked.has_value(); }));
        const auto meanwhile = std::chrono::steady_clock::now();
        e.redis.send_signal(SIGCONT);
        REQUIRE(e.one.within(30s, [&] { return asked.has_value(); }));
        CHECK(*asked >= before);
        CHECK(*asked < meanwhile);
    };
    const auto names = names_in(e.one);
    looked_at([&](auto then) {
        asio::co_spawn(e.one.executor(),
                       e.one.store().find(names),
                       [then](const auto&, auto found) { then(found.value()); });
    });
    looked_at([&](auto then) {
        asio::co_spawn(e.one.executor(),
                       e.one.store().try_lease(names),
                       [then](const auto&, auto lease) { then(lease.value().found); });
    });
}

TEST_CASE("a forgotten address is forgotten for all, and learnt anew") {
    two_edges e;
    const auto before = e.found();
    e.one.store().put(
        names_in(e.one), kept_as::record, before.marks, {}, tests::record_of_number(3), 2h);
    CHECK(e.write(change::kind::forget_address, "user3@a3.test") == writing::done);
    e.settle();
    CHECK(e.found().records.empty());
    SUBCASE("what was asked for before does not come back") {
        e.one.store().put(
            names_in(e.one), kept_as::record, before.marks, {}, tests::record_of_number(3), 2h);
        e.settle();
        CHECK(e.found().records.empty());
    }
    SUBCASE("what is asked for afterwards is found") {
        e.one.store().put(
            names_in(e.one), kept_as::record, e.found().marks, {}, tests::record_of_number(3), 2h);
        e.settle();
        CHECK(e.found().records.size() == 1);
    }
}

TEST_CASE("a forgotten domain is forgotten with all its addresses, and no other is") {
    two_edges e;
    e.one.store().put(names_in(e.one), kept_as::record, {}, {}, tests::record_of_number(3), 2h);
    e.one.store().put(
        names_in(e.one, "user4@a4.test"), kept_as::record, {}, {}, tests::record_of_number(4), 2h);
    CHECK(e.write(change::kind::forget_domain, "a3.test") == writing::done);
    e.settle();
    CHECK(e.found().records.empty());
    CHECK(e.found("user4@a4.test").records.size() == 1);
}

TEST_CASE("a declared address is known to all, though its domain was forgotten before") {
    two_edges e;
    CHECK(e.write(change::kind::forget_domain, "a3.test") == writing::done);
    CHECK(e.write(change::kind::declare, "user3@a3.test") == writing::done);
    REQUIRE(e.found().records.size() == 1);
    CHECK(e.found().records[0].as == kept_as::declared);
    CHECK(e.write(change::kind::forget_domain, "a3.test") == writing::done);
    CHECK(e.found().records.empty());
}

TEST_CASE("a declared address that is to be kept for no time is only forgotten") {
    two_edges e;
    e.one.store().put(names_in(e.one), kept_as::record, {}, {}, tests::record_of_number(3), 2h);
    CHECK(e.write(change::kind::declare, "user3@a3.test") == writing::done);
    CHECK(e.found().records.size() == 1);
    const auto reports = e.one.reports();
    std::vector<change> changes{{change::kind::declare, "user3@a3.test"}};
    CHECK(e.one.get(e.one.store().write(std::move(changes), {24h, 0ms})) == writing::done);
    CHECK(e.found().records.empty());
    CHECK(e.one.reports() == reports);
    CHECK(e.one.store().is_usable());
}

TEST_CASE("changes that are written together count in their order") {
    two_edges e;
    const auto write = [&](std::vector<change> changes) {
        return e.one.get(e.one.store().write(std::move(changes), lives));
    };
    const change known{change::kind::declare, "user3@a3.test"};
    for (const change& other : {change{change::kind::forget_domain, "a3.test"},
                                change{change::kind::forget_address, "user3@a3.test"}}) {
        CHECK(write({other, known}) == writing::done);
        CHECK(e.found().records.size() == 1);
        CHECK(write({known, other}) == writing::done);
        CHECK(e.found().records.empty());
    }
}

TEST_CASE("what a store that is full or away is to change is said not to be done") {
    two_edges e;
    CHECK(e.redis.ask({"CONFIG", "SET", "maxmemory", "1"}) == "OK");
    for (const auto& [what, name] : {std::pair(change::kind::forget_address, "user3@a3.test"),
                                     std::pair(change::kind::forget_domain, "a3.test"),
                                     std::pair(change::kind::declare, "user3@a3.test"),
                                     std::pair(change::kind::forget_all, "")}) {
        CHECK(e.write(what, name) == writing::refused);
    }
    e.redis.kill();
    CHECK(e.one.becomes(trouble::unreachable));
    CHECK(e.write(change::kind::forget_address, "user3@a3.test") == writing::unanswered);
    CHECK(e.write(change::kind::forget_all, "") == writing::unanswered);
}

TEST_CASE("one edge has the lease, and the others find its answer") {
    two_edges e;
    const auto mine = e.one.get(e.one.store().try_lease(names_in(e.one))).value();
    CHECK(mine.got);
    CHECK_FALSE(e.two.get(e.two.store().try_lease(names_in(e.two)))->got);
    e.one.store().put(names_in(e.one),
                      kept_as::record,
                      mine.found.marks,
                      mine.token,
                      tests::record_of_number(3),
                      2h);
    e.settle();
    const auto theirs = e.two.get(e.two.store().try_lease(names_in(e.two))).value();
    CHECK(theirs.got);
    CHECK(theirs.found.records.size() == 1);
}

TEST_CASE("a holder without an answer lets all others ask at once") {
    two_edges e;
    const auto mine = e.one.get(e.one.store().try_lease(names_in(e.one))).value();
    e.one.store().give_back(names_in(e.one), mine.token, false);
    e.settle();
    const auto theirs = e.two.get(e.two.store().try_lease(names_in(e.two))).value();
    CHECK_FALSE(theirs.got);
    CHECK(theirs.no_answer);
}

TEST_CASE("a lease is renewed while its edge lives, and free when it has died") {
    two_edges e;
    const auto mine = e.one.get(e.one.store().try_lease(names_in(e.one))).value();
    REQUIRE(mine.got);
    const std::string key = names_in(e.one).lease;
    CHECK(e.redis.ask({"PEXPIRE", key, "20000"}) == "1");
    CHECK(e.one.within(30s, [&] { return std::stoll(e.redis.ask({"PTTL", key})) > 20000; }));
    // It does not turn any more.
    CHECK(e.redis.ask({"PEXPIRE", key, "1"}) == "1");
    CHECK(e.two.within(30s,
                       [&] { return e.two.get(e.two.store().try_lease(names_in(e.two)))->got; }));
}

TEST_CASE("a holder that comes late does not overwrite what is newer") {
    two_edges e;
    const auto late = e.one.get(e.one.store().try_lease(names_in(e.one))).value();
    CHECK(e.redis.ask({"DEL", names_in(e.one).lease}) == "1");
    const auto newer = e.two.get(e.two.store().try_lease(names_in(e.two))).value();
    REQUIRE(newer.got);
    const auto put_late = [&] {
        record r = tests::record_of_number(4);
        r.recipient = "user3@a3.test";
        e.one.store().put(names_in(e.one), kept_as::record, {}, late.token, std::move(r), 2h);
        e.settle();
    };
    put_late();  // while the other asks
    CHECK(e.found().records.empty());
    e.two.store().put(
        names_in(e.two), kept_as::record, {}, newer.token, tests::record_of_number(3), 2h);
    CHECK(e.found().records.size() == 1);
    put_late();  // when it has answered
    REQUIRE(e.found().records.size() == 1);
    CHECK(tests::is_record_of(3, e.found().records[0].record));
}

TEST_CASE("keys of one recipient share a hash tag, and no key names it") {
    two_edges e;
    const auto names = names_in(e.one);
    const auto tag_of = [](const std::string& key) {
        return key.substr(key.find('{'), key.find('}') - key.find('{'));
    };
    for (const auto& key : {names.with_sender, names.declared, names.forgotten, names.lease}) {
        CHECK(tag_of(key) == tag_of(names.record));
    }
    CHECK(tag_of(names.domain_forgotten) != tag_of(names.record));
    CHECK(names.record.find("user3") == std::string::npos);
}

TEST_CASE("after all was forgotten, or the store was emptied, nothing old is found or misread") {
    two_edges e;
    e.one.store().put(names_in(e.one), kept_as::record, {}, {}, tests::record_of_number(3), 2h);
    e.settle();
    REQUIRE(e.found().records.size() == 1);
    const auto before = names_in(e.one).seed;
    CHECK(e.write(change::kind::forget_all, "") == writing::done);
    CHECK(e.one.within(30s, [&] { return !(names_in(e.one).seed == before); }));
    e.two.store().link().look_at_seed();
    CHECK(e.two.within(30s, [&] { return names_in(e.two).seed == names_in(e.one).seed; }));
    CHECK(e.found().records.empty());
}

TEST_CASE("what others have written at our keys is not read, nor does it end anything") {
    two_edges e;
    const auto names = names_in(e.one);
    for (const std::string& value : {std::string("x"), std::string(), std::string(5000, 'y')}) {
        CHECK(e.redis.ask({"SET", names.record, value, "PX", "100000"}) == "OK");
        CHECK(e.found().records.empty());
    }
    CHECK(e.redis.ask({"DEL", names.record}) == "1");
    CHECK(e.redis.ask({"LPUSH", names.record, "x"}) == "1");
    CHECK(e.redis.ask({"LPUSH", names.domain_forgotten, "x"}) == "1");
    CHECK(e.found().records.empty());
    CHECK(e.two.store().is_usable());
}

TEST_CASE("once everything is forgotten nothing is looked up until the seed is read again") {
    two_edges e;
    auto& link = e.two.store().link();
    const question_names before = names_in(e.two);
    e.one.store().put(names_in(e.one), kept_as::record, {}, {}, tests::record_of_number(3), 2h);
    e.settle();
    CHECK(e.found().records.size() == 1);
    link.look_at_seed();  // too early
    CHECK(e.write(change::kind::forget_all, "") == writing::done);
    link.outdate_seed();
    std::string ping = milter::fleet::resp_command({"PING"});
    CHECK(e.two.get(link.insist(std::move(ping), 1)).has_value());
    CHECK_FALSE(link.knows_seed());
    CHECK_FALSE(e.two.get(e.two.store().find(before)).has_value());
    CHECK(e.two.within(30s, [&] { return link.knows_seed(); }));  // by itself
    CHECK(e.found().records.empty());
    // Whoever began before would find what it knew by its old names.
    CHECK_FALSE(e.two.get(e.two.store().find(before)).has_value());
    CHECK_FALSE(e.two.get(e.two.store().try_lease(before)).has_value());
}

TEST_CASE("what is declared right after everything was forgotten is written under the new seed") {
    two_edges e;
    CHECK(e.write(change::kind::forget_all, "") == writing::done);
    e.two.store().link().outdate_seed();  // it has heard of it
    std::vector<change> changes{{change::kind::declare, "user3@a3.test"}};
    CHECK(e.two.get(e.two.store().write(std::move(changes), lives)) == writing::done);
    const auto found = e.one.get(e.one.store().find(names_in(e.one)));
    REQUIRE(found.has_value());
    CHECK(found->records.size() == 1);
}

TEST_CASE("no record is found where the mark of its domain can not be read") {
    two_edges e;
    const auto names = names_in(e.one);
    e.one.store().put(names, kept_as::record, {}, {}, tests::record_of_number(3), 2h);
    e.settle();
    REQUIRE(e.found().records.size() == 1);
    CHECK(e.redis.ask({"LPUSH", names.domain_forgotten, "x"}) == "1");
    CHECK(e.found().records.empty());
    CHECK(e.redis.ask({"DEL", names.domain_forgotten}) == "1");
    CHECK(e.found().records.size() == 1);
}
