#include "dns/message.h"

#include "tests/support/dns_wire.h"

#include <doctest/doctest.h>

using namespace callforward::dns;
using namespace std::chrono_literals;
using namespace callforward::test;

namespace {

const domain asked = *domain::parse("example.test");
constexpr unsigned ok = 0x8180, authentic = 0x0020, nxdomain = 3;

std::vector<std::uint8_t> mx_rdata(unsigned preference, std::string_view exchange) {
    dns_writer w;
    return w.u16(preference).name(exchange).bytes();
}

std::vector<std::uint8_t> name_rdata(std::string_view name) {
    dns_writer w;
    return w.name(name).bytes();
}

dns_writer mx_message(unsigned flags,
                      unsigned answers,
                      unsigned authority = 0,
                      unsigned additional = 0) {
    dns_writer w;
    return w.header(flags, answers, authority, additional).question("example.test", dns_mx);
}

reading<mx> read(const dns_writer& w) {
    return read_mail_exchangers(w.bytes(), asked);
}

void check_unavailable(const reading<mx>& r, std::string_view why) {
    CHECK(r.answer.status == status::unavailable);
    CHECK(r.answer.why == why);
    CHECK(r.answer.records.empty());
    CHECK(r.answer.ttl == 0s);
    CHECK_FALSE(r.ask_next);
}

}  // namespace

TEST_CASE("MX records are read, with the least TTL and the AD bit") {
    auto w = mx_message(ok | authentic, 2);
    w.record("example.test", dns_mx, 300, mx_rdata(10, "MX1.example.test"));
    w.record("EXAMPLE.test", dns_mx, 200, mx_rdata(20, "mx2.example.test"));
    const auto r = read(w);
    CHECK(r.answer.status == status::found);
    REQUIRE(r.answer.records.size() == 2);
    CHECK(r.answer.records[0] == mx{10, domain::parse("mx1.example.test")});
    CHECK(r.answer.records[1] == mx{20, domain::parse("mx2.example.test")});
    CHECK(r.answer.ttl == 200s);
    CHECK(r.answer.secure);
    CHECK(r.answer.canonical == "example.test");
}

TEST_CASE("A and AAAA records are read, repeated ones once") {
    const std::vector<std::uint8_t> four = {192, 0, 2, 1};
    std::vector<std::uint8_t> six(16);
    six[15] = 1;
    dns_writer a;
    a.header(ok, 2).question("example.test", dns_a);
    a.record("example.test", dns_a, 60, four).record("example.test", dns_a, 60, four);
    const auto of_a = read_addresses(a.bytes(), asked, record_type::a);
    CHECK(of_a.answer.records == std::vector{*ip_address::parse("192.0.2.1")});
    CHECK_FALSE(of_a.answer.secure);
    dns_writer aaaa;
    aaaa.header(ok, 1).question("example.test", dns_aaaa).record("example.test", dns_aaaa, 60, six);
    const auto of_aaaa = read_addresses(aaaa.bytes(), asked, record_type::aaaa);
    CHECK(of_aaaa.answer.records == std::vector{*ip_address::parse("::1")});
}

TEST_CASE("a CNAME chain is followed in any order, and its TTLs count") {
    auto w = mx_message(ok, 3);
    w.record("c.test", dns_mx, 300, mx_rdata(5, "mx.c.test"));
    w.record("b.test", dns_cname, 20, name_rdata("C.test"));
    w.record("example.test", dns_cname, 100, name_rdata("b.test"));
    const auto r = read(w);
    CHECK(r.answer.status == status::found);
    CHECK(r.answer.canonical == "c.test");
    CHECK(r.answer.ttl == 20s);
    CHECK(r.answer.records.size() == 1);
}

TEST_CASE("records that do not hang on the name asked are not believed") {
    auto w = mx_message(ok, 3, 1, 1);
    w.record("other.test", dns_mx, 300, mx_rdata(5, "evil.test"));
    w.record("example.test", dns_mx, 300, mx_rdata(10, "mx.test"));
    const auto of_class_chaos = mx_rdata(1, "chaos.test");
    w.name("example.test")
        .u16(dns_mx)
        .u16(3)
        .u32(60)
        .u16(static_cast<unsigned>(of_class_chaos.size()))
        .raw(of_class_chaos);
    w.record("example.test", dns_mx, 300, mx_rdata(1, "authority.test"));
    w.record("example.test", dns_mx, 300, mx_rdata(1, "additional.test"));
    const auto r = read(w);
    REQUIRE(r.answer.records.size() == 1);
    CHECK(r.answer.records[0].exchange->name() == "mx.test");
}

TEST_CASE("a CNAME without its target is to be asked for again") {
    auto w = mx_message(ok | authentic, 1);
    w.record("example.test", dns_cname, 77, name_rdata("b.test"));
    const auto r = read(w);
    CHECK(r.answer.status == status::unavailable);
    CHECK(r.ask_next == domain::parse("b.test"));
    CHECK(r.answer.ttl == 77s);
    CHECK(r.answer.secure);
}

TEST_CASE("the absence of a CNAME's target is believed from the target's own zone") {
    for (const unsigned rcode : {0U, nxdomain}) {
        for (const auto& [zone, believed] : {std::pair{"b.test", true},
                                             {"test", true},
                                             {"", true},
                                             {"example.test", false},
                                             {"xb.test", false}}) {
            CAPTURE(zone);
            auto w = mx_message(ok | rcode, 1, 1);
            w.record("example.test", dns_cname, 77, name_rdata("a.b.test"));
            w.record(zone, dns_soa, 50, soa_rdata(40));
            const auto r = read(w);
            CHECK(r.ask_next.has_value() != believed);
            CHECK(r.answer.status == (!believed           ? status::unavailable
                                      : rcode == nxdomain ? status::no_such_name
                                                          : status::no_data));
            if (believed) CHECK(r.answer.ttl == 40s);
        }
    }
}

TEST_CASE("a CNAME to what no host can be called is not followed") {
    auto w = mx_message(ok, 1);
    w.record("example.test", dns_cname, 77, name_rdata("a b.test"));
    check_unavailable(read(w), "CNAME to a name that no host can have");
}

TEST_CASE("CNAME loops and chains of more than 16 are given up") {
    auto loop = mx_message(ok, 2);
    loop.record("example.test", dns_cname, 77, name_rdata("b.test"))
        .record("b.test", dns_cname, 77, name_rdata("example.test"));
    check_unavailable(read(loop), "CNAME loop, or too many CNAMEs");
    auto self = mx_message(ok, 1);
    self.record("example.test", dns_cname, 77, name_rdata("example.test"));
    check_unavailable(read(self), "CNAME loop, or too many CNAMEs");
    for (const unsigned hops : {16U, 17U}) {
        auto w = mx_message(ok, hops + 1);
        for (unsigned i = 0; i < hops; ++i)
            w.record(i == 0 ? "example.test" : "c" + std::to_string(i) + ".test",
                     dns_cname,
                     60,
                     name_rdata("c" + std::to_string(i + 1) + ".test"));
        w.record("c" + std::to_string(hops) + ".test", dns_mx, 60, mx_rdata(1, "mx.test"));
        CHECK((read(w).answer.status == status::found) == (hops == 16));
    }
}

TEST_CASE("RFC 2308: an absence lives for the lesser of the SOA's TTL and minimum") {
    struct row {
        unsigned flags;
        std::uint32_t ttl, minimum;
        status expected;
        std::chrono::seconds lives;
    };
    for (const row& r : {row{ok, 100, 50, status::no_data, 50s},
                         row{ok, 50, 100, status::no_data, 50s},
                         row{ok | nxdomain, 100, 50, status::no_such_name, 50s},
                         row{ok | nxdomain, 0xffffffff, 50, status::no_such_name, 0s}}) {
        auto w = mx_message(r.flags, 0, 1);
        w.record("test", dns_soa, r.ttl, soa_rdata(r.minimum));
        const auto got = read(w);
        CHECK(got.answer.status == r.expected);
        CHECK(got.answer.ttl == r.lives);
        CHECK_FALSE(got.ask_next);
    }
    for (const char* foreign : {"ample.test", "sub.example.test", "com"}) {
        auto w = mx_message(ok | nxdomain, 0, 1);
        w.record(foreign, dns_soa, 100, soa_rdata(100));
        CHECK(read(w).answer.status == status::no_such_name);
        CHECK(read(w).answer.ttl == 0s);
    }
    CHECK(read(mx_message(ok, 0)).answer.status == status::no_data);
    CHECK(read(mx_message(ok, 0)).answer.ttl == 0s);
}

TEST_CASE("a referral is not an absence") {
    auto w = mx_message(0x8100, 0, 1);
    w.record("test", dns_ns, 100, name_rdata("ns.test"));
    check_unavailable(read(w), "referral instead of an answer");
}

TEST_CASE("failures of the server are unavailable, by name") {
    check_unavailable(read(mx_message(ok | 1U, 0)), "FORMERR");
    check_unavailable(read(mx_message(ok | 2U, 0)), "SERVFAIL");
    check_unavailable(read(mx_message(ok | 4U, 0)), "NOTIMP");
    check_unavailable(read(mx_message(ok | 5U, 0)), "REFUSED");
    check_unavailable(read(mx_message(ok | 9U, 0)), "rcode 9");
    check_unavailable(read(mx_message(ok | 0x0200U, 0)), "truncated message");
}

TEST_CASE("the upper bits of the rcode, in the OPT record, count") {
    auto w = mx_message(ok, 0, 0, 1);
    w.u8(0).u16(dns_opt).u16(1232).u32(0x01000000).u16(0);
    check_unavailable(read(w), "rcode 16");
}

TEST_CASE("a TTL with the top bit set is zero") {
    auto w = mx_message(ok, 1);
    w.record("example.test", dns_mx, 0x80000000U, mx_rdata(10, "mx.test"));
    CHECK(read(w).answer.ttl == 0s);
    CHECK(read(w).answer.status == status::found);
}

TEST_CASE("a null MX is an exchange of its own, and names no host can have are left out") {
    auto null = mx_message(ok, 1);
    null.record("example.test", dns_mx, 60, mx_rdata(0, "."));
    REQUIRE(read(null).answer.records.size() == 1);
    CHECK_FALSE(read(null).answer.records[0].exchange);

    auto mixed = mx_message(ok, 3);
    mixed.record("example.test", dns_mx, 60, mx_rdata(1, "192.0.2.1"));
    mixed.record("example.test", dns_mx, 60, mx_rdata(2, "mx.test"));
    mixed.record("example.test", dns_mx, 60, mx_rdata(3, "bad name.test"));
    REQUIRE(read(mixed).answer.records.size() == 1);
    CHECK(read(mixed).answer.records[0].exchange->name() == "mx.test");

    auto only_bad = mx_message(ok, 1);
    only_bad.record("example.test", dns_mx, 60, mx_rdata(1, "192.0.2.1"));
    CHECK(read(only_bad).answer.status == status::found);
    CHECK(read(only_bad).answer.records.empty());
}

TEST_CASE("a null MX beside a name no host can have is not the only record") {
    auto w = mx_message(ok, 2);
    w.record("example.test", dns_mx, 60, mx_rdata(0, "."))
        .record("example.test", dns_mx, 60, mx_rdata(1, "192.0.2.1"));
    CHECK(read(w).answer.status == status::found);
    CHECK(read(w).answer.records.empty());
}

TEST_CASE("only the answer to the question that was asked is read") {
    const auto with_question = [](std::string_view name, unsigned type) {
        dns_writer w;
        w.header(ok, 1)
            .question(name, type)
            .record("example.test", dns_mx, 60, mx_rdata(1, "mx.test"));
        return w;
    };
    CHECK(read(with_question("EXAMPLE.Test", dns_mx)).answer.status == status::found);
    check_unavailable(read(with_question("example2.test", dns_mx)),
                      "the answer to another question");
    check_unavailable(read(with_question("example.test", dns_a)), "the answer to another question");
    check_unavailable(read(mx_message(0x0100, 0)), "not a response");
    check_unavailable(read(mx_message(0xa100, 0)), "not a response");
    dns_writer none;
    none.u16(1).u16(ok).u16(0).u16(0).u16(0).u16(0);
    check_unavailable(read(none), "not one question");
    dns_writer chaos;
    chaos.header(ok, 0).name("example.test").u16(dns_mx).u16(3);
    check_unavailable(read(chaos), "the answer to another question");
}

TEST_CASE("NXDOMAIN together with records says nothing") {
    auto w = mx_message(ok | nxdomain, 1);
    w.record("example.test", dns_mx, 60, mx_rdata(1, "mx.test"));
    check_unavailable(read(w), "NXDOMAIN with records");
}

TEST_CASE("300 MX records are all read, and 3000 do no harm") {
    for (const unsigned count : {300U, 3000U}) {
        auto w = mx_message(ok, count);
        for (unsigned i = 0; i < count; ++i) {
            dns_writer rdata;
            rdata.u16(i)
                .u8(5)
                .u8('h')
                .u8('0' + i / 1000)
                .u8('0' + i / 100 % 10)
                .u8('0' + i / 10 % 10)
                .u8('0' + i % 10)
                .pointer(12);
            w.pointer(12)
                .u16(dns_mx)
                .u16(1)
                .u32(60)
                .u16(static_cast<unsigned>(rdata.bytes().size()))
                .raw(rdata.bytes());
        }
        if (w.bytes().size() > 65535) {
            check_unavailable(read(w), "malformed message");
            continue;
        }
        CHECK(read(w).answer.records.size() == 300);
        CHECK(read(w).answer.records.back().exchange->name() == "h0299.example.test");
    }
}

TEST_CASE("hostile messages are unavailable, not a crash") {
    const auto with_rdata = [](const dns_writer& rdata, unsigned type = dns_mx) {
        auto w = mx_message(ok, 1);
        return w.record("example.test", type, 60, rdata.bytes());
    };
    const std::size_t rdata_at = with_rdata(dns_writer()).bytes().size();
    dns_writer self_pointer, forward, short_rdata, long_label, cname_extra, extra;
    self_pointer.u16(10).pointer(static_cast<unsigned>(rdata_at + 2));
    forward.u16(10).pointer(0x3fff);
    short_rdata.u8(1);
    long_label.u16(10).u8(0x40).u8('a').u8(0);
    cname_extra.name("b.test").u8(0);
    extra.u16(10).name("mx.test").u8(7);
    check_unavailable(read(with_rdata(self_pointer)), "malformed name");
    check_unavailable(read(with_rdata(forward)), "malformed name");
    check_unavailable(read(with_rdata(short_rdata)), "malformed MX record");
    check_unavailable(read(with_rdata(long_label)), "malformed name");
    check_unavailable(read(with_rdata(extra)), "malformed name");
    check_unavailable(read(with_rdata(cname_extra, dns_cname)), "malformed name");

    dns_writer overlong;
    overlong.u16(10);
    for (int i = 0; i < 5; ++i) overlong.u8(63).raw(std::vector<std::uint8_t>(63, 'a'));
    check_unavailable(read(with_rdata(overlong.u8(0))), "malformed name");

    auto owner_loop = mx_message(ok, 1);
    owner_loop.pointer(static_cast<unsigned>(owner_loop.bytes().size()))
        .u16(dns_mx)
        .u16(1)
        .u32(60)
        .u16(3)
        .u16(1)
        .u8(0);
    check_unavailable(read(owner_loop), "malformed record");

    auto soa = mx_message(ok, 0, 1);
    soa.record("test", dns_soa, 60, name_rdata("ns.test"));
    check_unavailable(read(soa), "malformed SOA record");

    auto trailing = mx_message(ok, 0);
    check_unavailable(read(trailing.u8(0)), "malformed message");
    check_unavailable(read(mx_message(ok, 65535)), "malformed message");
    check_unavailable(read(dns_writer()), "malformed message");

    for (const unsigned size : {0U, 3U, 5U, 16U}) {
        dns_writer a;
        a.header(ok, 1)
            .question("example.test", dns_a)
            .record("example.test", dns_a, 60, std::vector<std::uint8_t>(size));
        const auto r = read_addresses(a.bytes(), asked, record_type::a);
        CHECK(r.answer.why == "malformed address record");
    }
}

TEST_CASE("a message cut anywhere, or with any byte changed, is survived") {
    auto w = mx_message(ok, 2, 1, 1);
    w.record("example.test", dns_cname, 60, name_rdata("b.test"))
        .record("b.test", dns_mx, 60, mx_rdata(1, "mx.test"));
    w.record("test", dns_soa, 60, soa_rdata(60)).u8(0).u16(dns_opt).u16(1232).u32(0).u16(0);
    REQUIRE(read(w).answer.status == status::found);
    for (std::size_t cut = 0; cut < w.bytes().size(); ++cut) {
        const std::vector<std::uint8_t> part(w.bytes().begin(),
                                             w.bytes().begin() + static_cast<std::ptrdiff_t>(cut));
        CHECK(read_mail_exchangers(part, asked).answer.status == status::unavailable);
    }
    for (std::size_t at = 0; at < w.bytes().size(); ++at)
        for (const unsigned value : {0x00U, 0x3fU, 0x40U, 0xc0U, 0xffU}) {
            auto changed = w.bytes();
            changed[at] = static_cast<std::uint8_t>(value);
            const auto r = read_mail_exchangers(changed, asked);
            CHECK((r.answer.status == status::found || r.answer.records.empty()));
        }
}

TEST_CASE("TLSA records are read as they are, also those that nobody can use") {
    dns_writer w;
    w.header(ok | authentic, 3).question("_25._tcp.mx.test", dns_tlsa);
    w.record("_25._tcp.mx.test", dns_tlsa, 300, std::vector<std::uint8_t>{3, 1, 1, 0xab, 0xcd});
    w.record("_25._tcp.mx.test", dns_tlsa, 300, std::vector<std::uint8_t>{3, 1, 1, 0xab, 0xcd});
    w.record("_25._tcp.mx.test", dns_tlsa, 300, std::vector<std::uint8_t>{255, 9, 0});
    const auto r = read_tlsa(w.bytes(), *domain::parse("_25._tcp.mx.test"));
    CHECK(r.answer.status == status::found);
    CHECK(r.answer.secure);
    REQUIRE(r.answer.records.size() == 2);
    CHECK(r.answer.records[0] == tlsa{3, 1, 1, {0xab, 0xcd}});
    CHECK(r.answer.records[1] == tlsa{255, 9, 0, {}});
}

TEST_CASE("a TLSA record that is too short makes the message worthless") {
    dns_writer w;
    w.header(ok | authentic, 1).question("_25._tcp.mx.test", dns_tlsa);
    w.record("_25._tcp.mx.test", dns_tlsa, 300, std::vector<std::uint8_t>{3, 1});
    const auto r = read_tlsa(w.bytes(), *domain::parse("_25._tcp.mx.test"));
    CHECK(r.answer.status == status::unavailable);
    CHECK(r.answer.why == "malformed TLSA record");
}

TEST_CASE("the strings of a TXT record are joined, and one that runs over its end is malformed") {
    const auto read_text = [](std::vector<std::uint8_t> rdata) {
        dns_writer w;
        w.header(ok, 1).question("example.test", dns_txt);
        w.record("example.test", dns_txt, 300, rdata);
        return read_texts(w.bytes(), asked).answer;
    };
    const auto good = read_text({2, 'a', 'b', 0, 1, ' '});
    REQUIRE(good.records.size() == 1);
    CHECK(good.records[0] == "ab ");
    CHECK(read_text({}).records == std::vector<std::string>{""});
    CHECK(read_text({3, 'a', 'b'}).why == "malformed TXT record");
}
