#include "milter/fleet/unwritten_changes.h"

#include <doctest/doctest.h>

#include <string>

using namespace callforward;
using namespace std::chrono_literals;
using milter::fleet::unwritten_changes;
using milter::verdicts::change;

namespace {

smtpclient::mailbox mailbox_of(const std::string& rcpt) {
    return smtpclient::mailbox::parse(rcpt).value();
}

change forgotten(const std::string& address) {
    return {change::kind::forget_address, address};
}

change known(const std::string& address) {
    return {change::kind::declare, address};
}

constexpr std::chrono::steady_clock::time_point start{1000h};

// What an attempt would write, as "kind name", and "+" where it is told already.
std::string next(unwritten_changes& changes,
                 std::size_t at_most = 10,
                 std::chrono::steady_clock::time_point now = start) {
    std::string text;
    for (const auto& each : changes.begin(at_most, now)) {
        const std::string what = each.what.what == change::kind::forget_address  ? "forget "
                                 : each.what.what == change::kind::forget_domain ? "domain "
                                 : each.what.what == change::kind::forget_all    ? "all"
                                                                                 : "known ";
        text += (text.empty() ? "" : ", ") + what + each.what.name + (each.told ? "+" : "");
    }
    return text;
}

}  // namespace

TEST_CASE("changes wait in their order, and the last word on a name is the one that counts") {
    unwritten_changes changes;
    CHECK(next(changes).empty());
    changes.put({known("a@a.test"), known("b@a.test")}, start);
    changes.put({{change::kind::forget_domain, "a.test"}, known("c@a.test")}, start);
    changes.put({forgotten("a@A.test")}, start);
    CHECK(next(changes) == "known b@a.test, domain a.test, known c@a.test, forget a@A.test");
    CHECK(next(changes, 2) == "known b@a.test, domain a.test");
    changes.written(changes.begin(2, start));
    CHECK(next(changes) == "known c@a.test, forget a@A.test");
    CHECK(changes.size() == 2);
}

TEST_CASE("what is changed again while it is written stays") {
    unwritten_changes changes;
    changes.put({known("a@a.test"), known("b@a.test")}, start);
    const auto under_way = changes.begin(10, start);
    changes.put({forgotten("a@a.test")}, start);
    changes.told(under_way);
    CHECK(next(changes) == "known b@a.test+, forget a@a.test");
    changes.written(under_way);
    CHECK(next(changes) == "forget a@a.test");
}

TEST_CASE("who forgets everything forgets what waited, and is written alone") {
    unwritten_changes changes;
    changes.put({known("a@a.test"), {change::kind::forget_all, {}}, known("b@a.test")}, start);
    CHECK(next(changes) == "all");
    changes.written(changes.begin(10, start));
    CHECK(next(changes) == "known b@a.test");
    changes.put({forgotten("c@a.test")}, start);
    changes.put({{change::kind::forget_all, {}}}, start);
    CHECK(next(changes) == "all");
    CHECK(changes.size() == 1);
}

TEST_CASE("a change concerns its address, or all of its domain, until it is written") {
    unwritten_changes changes;
    CHECK_FALSE(changes.concerns(mailbox_of("a@a.test")));
    changes.put({forgotten("a@a.test")}, start);
    CHECK(changes.concerns(mailbox_of("a@A.TEST")));
    CHECK_FALSE(changes.concerns(mailbox_of("b@a.test")));
    changes.put({{change::kind::forget_domain, "b.test"}}, start);
    CHECK(changes.concerns(mailbox_of("x@b.test")));
    CHECK_FALSE(changes.concerns(mailbox_of("x@sub.b.test")));
    changes.written(changes.begin(10, start));
    CHECK_FALSE(changes.concerns(mailbox_of("a@a.test")));
    changes.put({{change::kind::forget_all, {}}}, start);
    CHECK(changes.concerns(mailbox_of("y@[192.0.2.1]")));
}

TEST_CASE("whether an address is to be forgotten is said by the last word on it") {
    unwritten_changes changes;
    const auto forgets_a = [&] { return changes.forgets(mailbox_of("a@a.test")); };
    CHECK_FALSE(forgets_a());
    changes.put({forgotten("a@a.test"), forgotten("b@b.test")}, start);
    CHECK(forgets_a());
    CHECK_FALSE(changes.forgets(mailbox_of("b@a.test")));
    changes.put({known("a@A.test")}, start);
    CHECK_FALSE(forgets_a());
    for (const change& wider :
         {change{change::kind::forget_domain, "a.test"}, change{change::kind::forget_all, {}}}) {
        changes.put({wider}, start);
        CHECK(forgets_a());
        changes.put({known("a@a.test")}, start);
        CHECK_FALSE(forgets_a());
    }
    changes.put({forgotten("a@a.test")}, start);
    while (changes.size() > 0) changes.written(changes.begin(10, start));
    CHECK_FALSE(forgets_a());
}

TEST_CASE("a declaration that cannot be written for ten seconds is only forgotten") {
    unwritten_changes changes;
    changes.put({known("a@a.test"), forgotten("b@a.test")}, start);
    SUBCASE("while nothing fails it takes its turn, for a minute") {
        CHECK(next(changes, 10, start + 59s) == "known a@a.test, forget b@a.test");
        CHECK(next(changes, 10, start + 60s) == "forget a@a.test, forget b@a.test");
    }
    SUBCASE("another edge may have had a newer word meanwhile") {
        CHECK(next(changes) == "known a@a.test, forget b@a.test");
        changes.failed(start);
        changes.put({known("c@a.test")}, start + 9s);
        CHECK(next(changes, 10, start + 9s) == "known a@a.test, forget b@a.test, known c@a.test");
        changes.told(changes.begin(1, start));
        CHECK(next(changes, 10, start + 10s) ==
              "forget a@a.test+, forget b@a.test, known c@a.test");
        CHECK(changes.take_outdated() == 1);
        CHECK(changes.take_outdated() == 0);
        CHECK(changes.concerns(mailbox_of("a@a.test")));
        changes.written(changes.begin(10, start + 10s));
        CHECK(changes.size() == 0);
    }
    SUBCASE("what is declared again waits anew") {
        static_cast<void>(next(changes));
        changes.failed(start);
        changes.put({known("a@a.test")}, start + 9s);
        static_cast<void>(next(changes));
        changes.failed(start);
        CHECK(next(changes, 10, start + 10s) == "forget b@a.test, known a@a.test");
    }
}

TEST_CASE("what another edge forgets is not declared afterwards") {
    unwritten_changes changes;
    changes.put({known("a@a.test"), known("b@a.test"), forgotten("c@a.test"), known("d@b.test")},
                start);
    SUBCASE("an address") {
        changes.outdate(forgotten("b@A.TEST"));
        changes.outdate(forgotten("x@a.test"));
        CHECK(next(changes) == "known a@a.test, forget c@a.test, known d@b.test, forget b@a.test");
    }
    SUBCASE("a domain") {
        changes.outdate({change::kind::forget_domain, "a.test"});
        CHECK(next(changes) == "forget c@a.test, known d@b.test, forget a@a.test, forget b@a.test");
    }
    SUBCASE("everything") {
        changes.outdate({change::kind::forget_all, {}});
        CHECK(next(changes) ==
              "forget c@a.test, forget a@a.test, forget b@a.test, forget d@b.test");
    }
    SUBCASE("also while it is written as declared") {
        const auto under_way = changes.begin(10, start);
        changes.outdate(forgotten("b@a.test"));
        changes.told(under_way);
        changes.written(under_way);
        CHECK(next(changes) == "forget b@a.test");
        CHECK(changes.size() == 1);
        CHECK(changes.concerns(mailbox_of("b@a.test")));
        changes.written(changes.begin(10, start));
        CHECK(changes.size() == 0);
    }
}

TEST_CASE("too many that cannot be written for seconds become whole domains, or everything") {
    constexpr auto kept = unwritten_changes::most_kept;
    std::vector<change> of_two_domains;
    std::vector<change> of_many;
    for (std::size_t i = 0; i <= kept; ++i) {
        const std::string number = std::to_string(i);
        of_two_domains.push_back(known(number + (i % 2 == 0 ? "@a.test" : "@b.test")));
        of_many.push_back(forgotten("x@" + number + ".test"));
    }
    unwritten_changes changes;
    changes.put(of_two_domains, start);
    SUBCASE("not at the first failure, nor of one after a success") {
        changes.failed(start);
        changes.failed(start + 4s);
        changes.written({});
        changes.failed(start + 5s);
        changes.failed(start + 9s);
        CHECK(changes.size() == kept + 1);
        CHECK(changes.take_merged() == 0);
    }
    SUBCASE("after five seconds") {
        changes.failed(start);
        changes.failed(start + 5s);
        CHECK(changes.take_merged() == kept + 1);
        CHECK(changes.take_merged() == 0);
        CHECK(next(changes) == "domain a.test, domain b.test");
        CHECK(changes.concerns(mailbox_of("another@a.test")));
        CHECK_FALSE(changes.concerns(mailbox_of("x@1.test")));
        changes.failed(start + 6s);
        CHECK(changes.take_merged() == 0);
        changes.put(of_many, start + 6s);
        changes.failed(start + 7s);
        CHECK(changes.take_merged() == kept + 3);
        CHECK(next(changes) == "all");
    }
}

// One more than there is room for, of this many domains.
std::vector<change> flood(std::size_t domains) {
    std::vector<change> all;
    for (std::size_t i = 0; i <= unwritten_changes::most; ++i) {
        const std::string number = std::to_string(i % domains);
        all.push_back(known(std::to_string(i) + "@" + number + ".test"));
    }
    return all;
}

TEST_CASE("too many for all room become whole domains at once, and who waits is told so") {
    unwritten_changes changes;
    changes.put({known("a@a.test"), known("b@a.test")}, start);
    const auto before = changes.newest();
    changes.put(flood(3), start);
    CHECK(changes.size() == 4);
    CHECK(changes.take_merged() == unwritten_changes::most + 3);
    auto now = changes.wait(before, 1ms);
    CHECK_FALSE(now.written);
    CHECK(now.merged == 4U);
    changes.put({known("c@a.test")}, start);
    changes.written(changes.begin(10, start));
    now = changes.wait(before, 10h);
    CHECK_FALSE(now.written);
    CHECK(now.merged == 4U);
    const auto later = changes.newest();
    changes.put({known("d@a.test")}, start);
    CHECK_FALSE(changes.wait(later, 1ms).merged.has_value());
    changes.written(changes.begin(10, start));
    CHECK(changes.wait(later, 10h).written);
    CHECK_FALSE(changes.wait(later, 10h).merged.has_value());
    SUBCASE("of very many domains, everything") {
        changes.put(flood(unwritten_changes::most_kept + 1), start);
        CHECK(next(changes) == "all");
        CHECK(changes.wait(later, 1ms).merged == 0U);
    }
}

TEST_CASE("who waits is told whether what was changed is written") {
    unwritten_changes changes;
    CHECK(changes.wait(0, 0ms).written);
    changes.put({known("a@a.test")}, start);
    CHECK_FALSE(changes.wait(0, 1ms).written);
    const auto first = changes.begin(10, start);
    changes.put({known("b@a.test")}, start);
    changes.written(first);
    CHECK_FALSE(changes.wait(0, 1ms).written);
    SUBCASE("written after a failure") {
        static_cast<void>(next(changes));
        changes.failed(start);
        CHECK_FALSE(changes.wait(0, 10h).written);
        changes.written(changes.begin(10, start));
        CHECK(changes.wait(0, 10h).written);
    }
    SUBCASE("an attempt that began before has failed") {
        static_cast<void>(next(changes));
        changes.put({known("c@a.test")}, start);
        changes.failed(start);
        CHECK_FALSE(changes.wait(0, 1ms).written);
    }
    SUBCASE("nobody writes any more") {
        changes.close();
        CHECK_FALSE(changes.wait(0, 10h).written);
    }
}
