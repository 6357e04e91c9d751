#include "tests/support/dns_wire.h"

#include <algorithm>
#include <stdexcept>

namespace callforward::test {

namespace {

constexpr unsigned class_in = 1;
enum : unsigned {
    flag_qr = 0x8000,
    flag_aa = 0x0400,
    flag_tc = 0x0200,
    flag_rd = 0x0100,
    flag_ra = 0x0080,
    flag_ad = 0x0020
};
enum : unsigned { noerror = 0, formerr = 1, servfail = 2, nxdomain = 3, refused = 5 };
constexpr unsigned any_answer = flag_qr | flag_rd | flag_ra;

unsigned u16_at(std::span<const std::uint8_t> b, std::size_t at) {
    return static_cast<unsigned>(b[at] << 8U | b[at + 1]);
}

std::string upper(std::string text) {
    for (char& c : text)
        if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
    return text;
}

// What a name's records come to, CNAMEs followed inside the zone.
struct found_records {
    unsigned rcode = noerror;
    unsigned count = 0;
    dns_writer answers;
    std::string last;  // name at the end of the CNAMEs
    std::uint32_t ttl = 60;
    bool negative = false;
};

found_records find_records(const dns_zone& zone, const dns_question& q) {
    found_records out;
    out.last = q.name;
    std::set<std::string> seen;
    while (seen.insert(out.last).second) {
        const auto at = zone.find(out.last);
        if (at == zone.end()) {
            out.rcode = nxdomain;
            out.negative = true;
            return out;
        }
        const dns_name& here = at->second;
        out.ttl = here.ttl;
        const std::string owner = has_mark(here, "UPPER", q.type) ? upper(out.last) : out.last;
        std::string target;
        const unsigned before = out.count;
        for (const dns_record& r : here.records) {
            if (r.type != q.type && r.type != dns_cname) continue;
            out.answers.record(owner, r.type, here.ttl, r.rdata);
            ++out.count;
            if (r.type == dns_cname) target = r.target;
        }
        out.negative = out.count == before;
        if (target.empty() || has_mark(here, "BARE", q.type)) return out;
        out.last = target;
    }
    return out;
}

class reply_builder {
public:
    reply_builder(std::span<const std::uint8_t> query, const dns_question& q)
        : query_(query), q_(q) {}

    // The counts are filled in; `body` follows the question.
    [[nodiscard]] std::vector<std::uint8_t> build(unsigned flags,
                                                  unsigned answers,
                                                  unsigned authority,
                                                  const dns_writer& body) const {
        const bool opt = q_.edns && (flags & 0xfU) != formerr;
        dns_writer out;
        out.raw(query_.first(2)).u16(flags).u16(1).u16(answers).u16(authority).u16(opt ? 1 : 0);
        out.raw(query_.subspan(12, q_.end - 12)).raw(body.bytes());
        if (opt) out.u8(0).u16(dns_opt).u16(1232).u32(0).u16(0);
        return out.bytes();
    }
    [[nodiscard]] std::vector<std::uint8_t> failure(unsigned rcode) const {
        return build(any_answer | rcode, 0, 0, {});
    }

private:
    std::span<const std::uint8_t> query_;
    const dns_question& q_;
};

// The last label of the name, or the root: a zone above every name of it.
std::string zone_of(const std::string& name) {
    const auto dot = name.rfind('.');
    return dot == std::string::npos ? "" : name.substr(dot + 1);
}

}  // namespace

dns_writer& dns_writer::u8(unsigned value) {
    bytes_.push_back(static_cast<std::uint8_t>(value));
    return *this;
}
dns_writer& dns_writer::u16(unsigned value) {
    return u8(value >> 8U & 0xffU).u8(value & 0xffU);
}
dns_writer& dns_writer::u32(std::uint32_t value) {
    return u16(value >> 16U).u16(value & 0xffffU);
}
dns_writer& dns_writer::raw(std::span<const std::uint8_t> bytes) {
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
    return *this;
}

dns_writer& dns_writer::name(std::string_view dotted) {
    if (dotted.ends_with('.')) dotted.remove_suffix(1);
    while (!dotted.empty()) {
        const std::string_view label = dotted.substr(0, dotted.find('.'));
        if (label.empty() || label.size() > 63)
            throw std::runtime_error("a label has 1 to 63 bytes");
        u8(static_cast<unsigned>(label.size()));
        bytes_.insert(bytes_.end(), label.begin(), label.end());
        dotted.remove_prefix(std::min(dotted.size(), label.size() + 1));
    }
    return u8(0);
}

dns_writer& dns_writer::header(unsigned flags,
                               unsigned answers,
                               unsigned authority,
                               unsigned additional) {
    return u16(1).u16(flags).u16(1).u16(answers).u16(authority).u16(additional);
}

dns_writer& dns_writer::question(std::string_view of, unsigned type) {
    return name(of).u16(type).u16(class_in);
}

dns_writer& dns_writer::record(std::string_view owner,
                               unsigned type,
                               std::uint32_t ttl,
                               std::span<const std::uint8_t> rdata) {
    return name(owner)
        .u16(type)
        .u16(class_in)
        .u32(ttl)
        .u16(static_cast<unsigned>(rdata.size()))
        .raw(rdata);
}

std::vector<std::uint8_t> soa_rdata(std::uint32_t minimum) {
    dns_writer out;
    out.name("ns.invalid")
        .name("hostmaster.invalid")
        .u32(1)
        .u32(3600)
        .u32(600)
        .u32(86400)
        .u32(minimum);
    return out.bytes();
}

std::optional<dns_question> read_dns_question(std::span<const std::uint8_t> query) {
    if (query.size() < 17 || (query[2] & 0x80U) != 0 || u16_at(query, 4) != 1) return std::nullopt;
    dns_question out;
    std::size_t at = 12;
    while (at < query.size() && query[at] != 0) {
        const std::size_t size = query[at];
        if (size > 63 || at + 1 + size >= query.size()) return std::nullopt;
        if (!out.name.empty()) out.name += '.';
        out.name.append(query.begin() + static_cast<std::ptrdiff_t>(at + 1),
                        query.begin() + static_cast<std::ptrdiff_t>(at + 1 + size));
        at += 1 + size;
    }
    if (at + 5 > query.size()) return std::nullopt;
    out.name = lower_name(out.name);
    out.type = u16_at(query, at + 1);
    out.end = at + 5;
    out.wants_ad = (query[3] & flag_ad) != 0;
    // The one additional record that resolvers send: root, OPT, size.
    if (u16_at(query, 10) == 1 && query.size() >= out.end + 11 && query[out.end] == 0 &&
        u16_at(query, out.end + 1) == dns_opt) {
        out.edns = true;
        out.udp_size = std::max<std::size_t>(512, u16_at(query, out.end + 3));
    }
    return out;
}

std::vector<std::uint8_t> dns_reply(const dns_zone& zone,
                                    std::span<const std::uint8_t> query,
                                    const dns_question& q,
                                    bool over_tcp) {
    static const dns_name unlisted;
    const auto at = zone.find(q.name);
    const dns_name& name = at == zone.end() ? unlisted : at->second;
    const auto marked = [&](const char* mark) { return has_mark(name, mark, q.type); };
    const reply_builder reply(query, q);
    if (marked("SERVFAIL")) return reply.failure(servfail);
    if (marked("NXDOMAIN")) return reply.failure(nxdomain);
    if (marked("REFUSED")) return reply.failure(refused);
    if (marked("NOEDNS") && q.edns) return reply.failure(formerr);
    dns_writer body;
    if (marked("GARBAGE"))
        return reply.build(any_answer, 3, 0, body.u8(0xc0).u8(0xff).u32(0xdeadbeefU).u8(0x3f));
    if (marked("REFERRAL")) {
        dns_writer ns;
        body.record("", dns_ns, 60, ns.name("ns.invalid").bytes());
        return reply.build(flag_qr | flag_rd, 0, 1, body);
    }
    const found_records found = find_records(zone, q);
    body.raw(found.answers.bytes());
    if (found.negative) body.record(zone_of(found.last), dns_soa, found.ttl, soa_rdata(found.ttl));
    const unsigned flags = any_answer | flag_aa | found.rcode | (marked("AD") ? flag_ad : 0U);
    std::vector<std::uint8_t> whole = reply.build(flags, found.count, found.negative ? 1 : 0, body);
    const bool too_long = whole.size() > q.udp_size || marked("TRUNCATE");
    return too_long && !over_tcp ? reply.build(flags | flag_tc, 0, 0, {}) : whole;
}

}  // namespace callforward::test
