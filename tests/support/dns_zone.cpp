#include "tests/support/dns_zone.h"

#include "tests/support/dns_wire.h"

#include <arpa/inet.h>

#include <sstream>
#include <stdexcept>

namespace callforward::test {

namespace {

std::vector<std::uint8_t> address_rdata(int family, const std::string& text) {
    std::vector<std::uint8_t> out(family == AF_INET ? 4 : 16);
    if (inet_pton(family, text.c_str(), out.data()) != 1) throw std::runtime_error("no address");
    return out;
}

std::string word(std::istringstream& from) {
    std::string out;
    if (!(from >> out)) throw std::runtime_error("something is missing");
    return out;
}

unsigned number(std::istringstream& from) {
    return static_cast<unsigned>(std::stoul(word(from)));
}

std::vector<std::uint8_t> tlsa_rdata(std::istringstream& from) {
    std::vector<std::uint8_t> out;
    for (int i = 0; i < 3; ++i) out.push_back(static_cast<std::uint8_t>(number(from)));
    const std::string data = word(from);
    for (std::size_t i = 0; i + 1 < data.size(); i += 2)
        out.push_back(static_cast<std::uint8_t>(std::stoul(data.substr(i, 2), nullptr, 16)));
    return out;
}

// One string of at most 255 bytes after the other.
std::vector<std::uint8_t> text_rdata(std::istringstream& from) {
    std::string text = word(from);
    for (std::string next; from >> next;) text += ' ' + next;
    std::vector<std::uint8_t> out;
    for (std::size_t at = 0; at < text.size(); at += 255) {
        const std::string part = text.substr(at, 255);
        out.push_back(static_cast<std::uint8_t>(part.size()));
        out.insert(out.end(), part.begin(), part.end());
    }
    return out;
}

bool is_mark(std::string_view verb) {
    static const std::set<std::string, std::less<>> marks = {"SERVFAIL",
                                                             "NXDOMAIN",
                                                             "REFUSED",
                                                             "TIMEOUT",
                                                             "TRUNCATE",
                                                             "GARBAGE",
                                                             "EMPTY",
                                                             "WRONGID",
                                                             "WRONGQUESTION",
                                                             "DUPLICATE",
                                                             "UPPER",
                                                             "NOEDNS",
                                                             "BARE",
                                                             "REFERRAL",
                                                             "TCPCLOSE",
                                                             "TCPSTALL",
                                                             "TCPSHORT",
                                                             "AD"};
    return marks.contains(verb);
}

void add_line(dns_zone& zone, std::istringstream& line, const std::string& owner) {
    dns_name& at = zone[lower_name(owner)];
    const std::string verb = word(line);
    dns_writer rdata;
    if (verb == "A") {
        at.records.push_back({dns_a, address_rdata(AF_INET, word(line)), {}});
    } else if (verb == "AAAA") {
        at.records.push_back({dns_aaaa, address_rdata(AF_INET6, word(line)), {}});
    } else if (verb == "MX") {
        rdata.u16(number(line)).name(word(line));
        at.records.push_back({dns_mx, rdata.bytes(), {}});
    } else if (verb == "CNAME") {
        const std::string target = word(line);
        at.records.push_back({dns_cname, rdata.name(target).bytes(), lower_name(target)});
    } else if (verb == "TLSA") {
        at.records.push_back({dns_tlsa, tlsa_rdata(line), {}});
    } else if (verb == "TXT") {
        at.records.push_back({dns_txt, text_rdata(line), {}});
    } else if (verb == "TTL") {
        at.ttl = number(line);
    } else if (verb == "DELAY") {
        at.delay_ms = static_cast<int>(number(line));
    } else if (is_mark(verb)) {
        std::string type;
        at.marks.insert(line >> type ? verb + " " + type : verb);
    } else {
        throw std::runtime_error("unknown word " + verb);
    }
}

}  // namespace

bool has_mark(const dns_name& name, const std::string& mark, unsigned type) {
    return name.marks.contains(mark) || name.marks.contains(mark + " " + dns_type_name(type));
}

std::string dns_type_name(unsigned type) {
    switch (type) {
        case dns_a:
            return "A";
        case dns_mx:
            return "MX";
        case dns_txt:
            return "TXT";
        case dns_aaaa:
            return "AAAA";
        case dns_tlsa:
            return "TLSA";
        default:
            return "TYPE" + std::to_string(type);
    }
}

std::string lower_name(std::string_view name) {
    std::string out(name);
    for (char& c : out)
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    if (out.ends_with('.')) out.pop_back();
    return out;
}

dns_zone parse_dns_zone(std::string_view text) {
    dns_zone zone;
    std::istringstream lines{std::string(text)};
    for (std::string line; std::getline(lines, line);) {
        std::istringstream words(line.substr(0, line.find('#')));
        std::string owner;
        if (!(words >> owner)) continue;
        try {
            add_line(zone, words, owner);
        } catch (const std::exception& e) {
            throw std::runtime_error("zone line \"" + line + "\": " + e.what());
        }
    }
    return zone;
}

}  // namespace callforward::test
