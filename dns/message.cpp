#include "dns/message.h"

#include <arpa/nameser.h>

#include <algorithm>
#include <array>
#include <map>
#include <utility>

namespace callforward::dns {

namespace {

using bytes = std::span<const std::uint8_t>;

constexpr int max_answers = 512;
constexpr int max_others = 64;  // of the authority and additional sections each

struct alias {
    std::string target;
    std::uint32_t ttl;
};

struct owned_rdata {
    std::string owner;
    std::uint32_t ttl;
    bytes rdata;
};

// What a message says before the records themselves are read. `rdata` views the message.
struct outline {
    dns::status status = status::unavailable;
    std::string why;
    std::string canonical;
    std::uint32_t ttl = 0;
    bool secure = false;
    std::optional<domain> ask_next;
    std::vector<bytes> rdata;
};

// What is wrong with a message. Caught in this file only: it keeps the reading functions free of
// error plumbing.
struct malformed {
    std::string why;
};

// DNS names are equal in any letter case of ASCII, and only of ASCII (RFC 4343).
std::string lower(std::string_view name) {
    std::string out(name);
    for (char& c : out)
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    return out;
}

// RFC 2181 section 8: a TTL with the top bit set is zero.
std::uint32_t ttl_of(std::uint32_t untrusted) {
    return untrusted > 0x7fffffffU ? 0 : untrusted;
}

std::uint32_t number32(bytes b) {
    return std::uint32_t{b[0]} << 24U | std::uint32_t{b[1]} << 16U | std::uint32_t{b[2]} << 8U |
           b[3];
}

bool is_at_or_above(std::string_view zone, std::string_view name) {
    if (zone.empty() || zone == name) return true;
    return name.size() > zone.size() && name.ends_with(zone) &&
           name[name.size() - zone.size() - 1] == '.';
}

std::string rcode_name(int rcode) {
    switch (rcode) {
        case ns_r_formerr:
            return "FORMERR";
        case ns_r_servfail:
            return "SERVFAIL";
        case ns_r_notimpl:
            return "NOTIMP";
        case ns_r_refused:
            return "REFUSED";
        default:  // not an enum of ours
            return "rcode " + std::to_string(rcode);
    }
}

class message {
public:
    explicit message(bytes untrusted) : bytes_(untrusted) {
        if (untrusted.size() > NS_MAXMSG ||
            ns_initparse(untrusted.data(), static_cast<int>(untrusted.size()), &handle_) != 0)
            throw malformed{"malformed message"};
    }

    [[nodiscard]] int flag(ns_flag f) const { return ns_msg_getflag(handle_, f); }
    [[nodiscard]] int count(ns_sect s) const { return ns_msg_count(handle_, s); }

    [[nodiscard]] ns_rr record(ns_sect section, int index) {
        ns_rr rr;
        if (ns_parserr(&handle_, section, index, &rr) != 0) throw malformed{"malformed record"};
        return rr;
    }

    // The name that fills `field` to its end, lower case, without trailing dot: the root is "".
    [[nodiscard]] std::string name(bytes field) const {
        std::array<char, NS_MAXDNAME> text{};
        const int used = ns_name_uncompress(
            bytes_.data(), bytes_.data() + bytes_.size(), field.data(), text.data(), text.size());
        if (used < 0 || static_cast<std::size_t>(used) != field.size())
            throw malformed{"malformed name"};
        std::string out = lower(text.data());
        if (out == ".") out.clear();
        return out;
    }

    // The least of the SOA's own TTL and its minimum field (RFC 2308 section 5).
    [[nodiscard]] std::uint32_t negative_ttl(const ns_rr& soa) const {
        const std::uint8_t* at = ns_rr_rdata(soa);
        const std::uint8_t* const end = at + ns_rr_rdlen(soa);
        if (ns_name_skip(&at, end) != 0 || ns_name_skip(&at, end) != 0 || end - at != 20)
            throw malformed{"malformed SOA record"};
        return std::min(ttl_of(ns_rr_ttl(soa)), ttl_of(number32(bytes(at + 16, 4))));
    }

private:
    bytes bytes_;
    ns_msg handle_{};
};

bytes rdata_of(const ns_rr& rr) {
    return {ns_rr_rdata(rr), static_cast<std::size_t>(ns_rr_rdlen(rr))};
}

void check_question(message& m, const domain& asked, record_type type) {
    if (m.flag(ns_f_qr) != 1 || m.flag(ns_f_opcode) != ns_o_query)
        throw malformed{"not a response"};
    if (m.count(ns_s_qd) != 1) throw malformed{"not one question"};
    const ns_rr question = m.record(ns_s_qd, 0);
    if (ns_rr_class(question) != ns_c_in || ns_rr_type(question) != static_cast<int>(type) ||
        lower(question.name) != asked.name())
        throw malformed{"the answer to another question"};
}

// The upper bits of the rcode are in the OPT record (RFC 6891 section 6.1.3): BADVERS looks like
// success without them.
void check_rcode(message& m) {
    int rcode = m.flag(ns_f_rcode);
    for (int i = 0; i < std::min(m.count(ns_s_ar), max_others); ++i) {
        const ns_rr rr = m.record(ns_s_ar, i);
        if (ns_rr_type(rr) == ns_t_opt) rcode |= static_cast<int>(ns_rr_ttl(rr) >> 24U) << 4U;
    }
    if (rcode != ns_r_noerror && rcode != ns_r_nxdomain) throw malformed{rcode_name(rcode)};
    // Over UDP the question was asked again over TCP before it came here.
    if (m.flag(ns_f_tc) != 0) throw malformed{"truncated message"};
}

struct answer_section {
    std::map<std::string, alias, std::less<>> aliases;
    std::vector<owned_rdata> records;
};

answer_section read_answer_section(message& m, record_type type) {
    answer_section out;
    for (int i = 0; i < std::min(m.count(ns_s_an), max_answers); ++i) {
        const ns_rr rr = m.record(ns_s_an, i);
        if (ns_rr_class(rr) != ns_c_in) continue;
        if (ns_rr_type(rr) == ns_t_cname)
            out.aliases.try_emplace(
                lower(rr.name),
                alias{.target = m.name(rdata_of(rr)), .ttl = ttl_of(ns_rr_ttl(rr))});
        else if (ns_rr_type(rr) == static_cast<int>(type))
            out.records.push_back(
                {.owner = lower(rr.name), .ttl = ttl_of(ns_rr_ttl(rr)), .rdata = rdata_of(rr)});
    }
    return out;
}

// Follows the CNAMEs; the name at their end is canonical, and its records are kept.
void follow(const answer_section& section, outline& out) {
    std::uint32_t least = UINT32_MAX;
    const auto has_records = [&] {
        return std::any_of(section.records.begin(), section.records.end(), [&](const auto& r) {
            return r.owner == out.canonical;
        });
    };
    for (int hops = 0; !has_records(); ++hops) {
        const auto next = section.aliases.find(out.canonical);
        if (next == section.aliases.end()) break;
        if (hops == max_cnames) throw malformed{"CNAME loop, or too many CNAMEs"};
        least = std::min(least, next->second.ttl);
        out.canonical = next->second.target;
    }
    for (const owned_rdata& r : section.records) {
        if (r.owner != out.canonical) continue;
        least = std::min(least, r.ttl);
        out.rdata.push_back(r.rdata);
    }
    out.ttl = least;
}

struct authority {
    std::optional<std::uint32_t> negative_ttl;  // of an SOA that speaks for the name
    bool name_servers = false;
};

authority read_authority(message& m, std::string_view canonical) {
    authority out;
    for (int i = 0; i < std::min(m.count(ns_s_ns), max_others); ++i) {
        const ns_rr rr = m.record(ns_s_ns, i);
        if (ns_rr_class(rr) != ns_c_in) continue;
        if (ns_rr_type(rr) == ns_t_ns) out.name_servers = true;
        if (ns_rr_type(rr) == ns_t_soa && is_at_or_above(lower(rr.name), canonical))
            out.negative_ttl = m.negative_ttl(rr);
    }
    return out;
}

void read_absence(message& m, const domain& asked, outline& out) {
    const authority from = read_authority(m, out.canonical);
    // The absence of a CNAME's target is believed when the target's zone says so; else the target
    // is asked for. The server that holds the CNAME may know nothing about it.
    if (out.canonical != asked.name() && !from.negative_ttl) {
        out.ask_next = domain::parse(out.canonical);
        throw malformed{out.ask_next ? "CNAME without its target"
                                     : "CNAME to a name that no host can have"};
    }
    // A referral: the server does not resolve for us, and did not say that there is nothing (RFC
    // 2308 section 2.2).
    if (m.flag(ns_f_rcode) == ns_r_noerror && !from.negative_ttl && from.name_servers &&
        m.flag(ns_f_aa) == 0 && m.flag(ns_f_ra) == 0)
        throw malformed{"referral instead of an answer"};
    out.status = m.flag(ns_f_rcode) == ns_r_nxdomain ? status::no_such_name : status::no_data;
    out.ttl = std::min(out.ttl, from.negative_ttl.value_or(0));
}

void read_outline(message& m, const domain& asked, record_type type, outline& out) {
    out.canonical = asked.name();
    check_question(m, asked, type);
    check_rcode(m);
    out.secure = m.flag(ns_f_ad) == 1;
    follow(read_answer_section(m, type), out);
    if (out.rdata.empty()) return read_absence(m, asked, out);
    if (m.flag(ns_f_rcode) != ns_r_noerror) throw malformed{"NXDOMAIN with records"};
    out.status = status::found;
}

mx mx_of(const message& m, bytes rdata, bool& usable) {
    if (rdata.size() < 3) throw malformed{"malformed MX record"};
    const std::string exchange = m.name(rdata.subspan(2));
    mx record{.preference = static_cast<std::uint16_t>(rdata[0] << 8U | rdata[1]),
              .exchange = domain::parse(exchange)};
    usable = record.exchange || exchange.empty();
    return record;
}

template <class Record>
void add_once(std::vector<Record>& to, Record record) {
    if (std::find(to.begin(), to.end(), record) == to.end()) to.push_back(std::move(record));
}

void add_mail_exchangers(const message& m, const outline& from, std::vector<mx>& to) {
    bool all_usable = true;
    for (const bytes rdata : from.rdata) {
        bool usable = false;
        mx record = mx_of(m, rdata, usable);
        if (usable) add_once(to, std::move(record));
        all_usable = all_usable && usable;
    }
    if (!all_usable) std::erase_if(to, [](const mx& record) { return !record.exchange; });
}

ip_address address_of(bytes rdata, record_type type) {
    ip_address::bytes_v4 v4{};
    ip_address::bytes_v6 v6{};
    if (rdata.size() != (type == record_type::a ? v4.size() : v6.size()))
        throw malformed{"malformed address record"};
    if (type == record_type::a) {
        std::copy(rdata.begin(), rdata.end(), v4.begin());
        return ip_address(v4);
    }
    std::copy(rdata.begin(), rdata.end(), v6.begin());
    return ip_address(v6);
}

tlsa tlsa_of(bytes rdata) {
    if (rdata.size() < 3) throw malformed{"malformed TLSA record"};
    return {rdata[0], rdata[1], rdata[2], {rdata.begin() + 3, rdata.end()}};
}

std::string text_of(bytes rdata) {
    std::string text;
    for (std::size_t at = 0; at < rdata.size();) {
        const std::size_t length = rdata[at++];
        if (length > rdata.size() - at) throw malformed{"malformed TXT record"};
        const bytes part = rdata.subspan(at, length);
        text.append(part.begin(), part.end());
        at += length;
    }
    return text;
}

template <class Record, class Add>
reading<Record> read(bytes untrusted, const domain& asked, record_type type, Add add) {
    outline out;
    reading<Record> result;
    try {
        message m(untrusted);
        read_outline(m, asked, type, out);
        add(m, out, result.answer.records);
    } catch (malformed& m) {
        out.status = status::unavailable;
        out.why = std::move(m.why);
        result.answer.records.clear();
    }
    if (out.status == status::unavailable && !out.ask_next) out.ttl = 0;
    result.answer.status = out.status;
    result.answer.ttl = std::chrono::seconds(out.ttl);
    result.answer.secure = out.secure;
    result.answer.canonical = std::move(out.canonical);
    result.answer.why = std::move(out.why);
    result.ask_next = std::move(out.ask_next);
    return result;
}

}  // namespace

std::string_view to_string(record_type t) {
    switch (t) {
        case record_type::a:
            return "A";
        case record_type::mx:
            return "MX";
        case record_type::txt:
            return "TXT";
        case record_type::aaaa:
            return "AAAA";
        case record_type::tlsa:
            return "TLSA";
    }
    return "?";
}

reading<mx> read_mail_exchangers(bytes untrusted, const domain& asked) {
    return read<mx>(untrusted, asked, record_type::mx, add_mail_exchangers);
}

reading<ip_address> read_addresses(bytes untrusted, const domain& asked, record_type type) {
    const auto add = [type](const message&, const outline& from, std::vector<ip_address>& to) {
        for (const bytes rdata : from.rdata) add_once(to, address_of(rdata, type));
    };
    return read<ip_address>(untrusted, asked, type, add);
}

reading<tlsa> read_tlsa(bytes untrusted, const domain& asked) {
    const auto add = [](const message&, const outline& from, std::vector<tlsa>& to) {
        for (const bytes rdata : from.rdata) add_once(to, tlsa_of(rdata));
    };
    return read<tlsa>(untrusted, asked, record_type::tlsa, add);
}

reading<std::string> read_texts(bytes untrusted, const domain& asked) {
    const auto add = [](const message&, const outline& from, std::vector<std::string>& to) {
        for (const bytes rdata : from.rdata) to.push_back(text_of(rdata));
    };
    return read<std::string>(untrusted, asked, record_type::txt, add);
}

}  // namespace callforward::dns
