#include "smtpclient/mailbox.h"

#include "dns/byte_set.h"
#include "smtpclient/printable.h"
#include "smtpclient/unicode.h"

#include <algorithm>

namespace callforward::smtpclient {

namespace {

using dns::byte_set;
using dns::printable_ascii;

bool is_utf8_byte(char c) {
    return !dns::ascii.contains(c);
}

// RFC 5321 atext, dots (wherever they stand), and RFC 6531's UTF-8.
constexpr byte_set dot_string(
    '\x80',
    '\xff',
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&'*+-/=?^_`{|}~.");

bool is_dot_string(std::string_view text) {
    return !text.empty() && dot_string.contains_all_of(text);
}

// RFC 5321 Quoted-string: printable bytes between quotes, a backslash before each quote or
// backslash inside.
bool is_quoted_string(std::string_view text) {
    if (text.size() < 2 || text.front() != '"' || text.back() != '"') return false;
    const std::string_view inside = text.substr(1, text.size() - 2);
    for (std::size_t i = 0; i < inside.size(); ++i) {
        if (inside[i] == '"') return false;
        if (inside[i] == '\\' && ++i == inside.size()) return false;
        if (!is_utf8_byte(inside[i]) && (inside[i] < ' ' || inside[i] > '~')) return false;
    }
    return true;
}

// printable_utf8 changes whatever is not well-formed.
bool is_well_formed(std::string_view text) {
    return printable_ascii.contains_all_of(text) || printable_utf8(text, text.size() + 1) == text;
}

// A domain as it may stand in a path: a name, or an address literal in brackets.
bool is_domain_part(std::string_view text) {
    if (text.starts_with('[') && text.ends_with(']') && text.size() > 2) {
        return dns::ip_address::parse_literal(text.substr(1, text.size() - 2)).has_value();
    }
    return dns::domain::parse(text).has_value();
}

// "@a,@b:user@c" is user@c: the route is obsolete and to be ignored (RFC 5321 section 4.1.1.3).
// Only what is a route is taken for one: what is ignored must not hide what is not to be sent.
std::optional<std::string_view> without_source_route(std::string_view path) {
    if (!path.starts_with('@')) return path;
    while (path.starts_with('@')) {
        path.remove_prefix(1);
        // An IPv6 literal has colons of its own.
        const auto from = path.starts_with('[') ? path.find(']') : 0;
        const auto end = path.find_first_of(",:", std::min(from, path.size()));
        if (end == std::string_view::npos || !is_domain_part(path.substr(0, end))) {
            return std::nullopt;
        }
        const bool last = path[end] == ':';
        path.remove_prefix(end + 1);
        if (last) return path;
    }
    return std::nullopt;
}

std::optional<std::string_view> without_brackets(std::string_view path) {
    const bool opens = path.starts_with('<');
    const bool closes = path.ends_with('>');
    if (opens != closes || (opens && path.size() < 2)) return std::nullopt;
    return opens ? path.substr(1, path.size() - 2) : path;
}

}  // namespace

std::optional<mailbox> mailbox::parse(std::string_view untrusted) {
    std::optional<mailbox> result(std::in_place);
    if (!result->read(untrusted)) result.reset();
    return result;
}

std::optional<mailbox> mailbox::parse_local_user(std::string_view untrusted) {
    const auto user = without_brackets(untrusted);
    if (!user || user->find('@') != std::string_view::npos) return std::nullopt;
    return parse(std::string(*user) + "@[127.0.0.1]");
}

bool mailbox::assign(std::string_view untrusted) {
    if (read(untrusted)) return true;
    clear();
    return false;
}

void mailbox::clear() {
    local_part_.clear();
    domain_part_.clear();
    domain_.reset();
    literal_.reset();
}

bool mailbox::read(std::string_view untrusted) {
    literal_.reset();
    const auto path = without_brackets(untrusted);
    if (!path) return false;
    const auto text = without_source_route(*path);
    if (!text || text->size() > longest || !is_well_formed(*text)) return false;
    const auto at = text->rfind('@');
    if (at == std::string_view::npos) return false;
    local_part_ = text->substr(0, at);
    if (!is_dot_string(local_part_) && !is_quoted_string(local_part_)) return false;
    const std::string_view name = text->substr(at + 1);
    // Many recipients have the domain of the one before.
    if (domain_ && !domain_part_.empty() && domain_part_ == name) return true;
    domain_part_.clear();  // so that without memory nothing half read is taken for that
    if (name.starts_with('[') && name.ends_with(']')) {
        domain_.reset();
        domain_part_ = name;
        literal_ = dns::ip_address::parse_literal(name.substr(1, name.size() - 2));
        return literal_.has_value();
    }
    dns::domain::parse_into(domain_, name);
    if (domain_) {
        // domain::parse() has seen that there is one trailing dot at most.
        domain_part_ = name.substr(0, name.size() - (name.ends_with('.') ? 1 : 0));
        return true;
    }
    // "user@192.0.2.1" is sent by some; it falls under the same rules as a literal. A bare IPv6
    // address never was a domain.
    domain_part_ = name;
    literal_ = dns::ip_address::parse(name);
    return literal_ && name.find(':') == std::string_view::npos;
}

void mailbox::append_address(std::string& to) const {
    to.append(local_part_).append(1, '@').append(domain_part_);
}

std::string mailbox::key() const {
    const std::string local_part = local_part_is_ascii() ? local_part_ : composed(local_part_);
    if (domain_) return local_part + '@' + domain_->name();
    return local_part + '@' + (literal_ ? '[' + literal_->text() + ']' : std::string{});
}

bool mailbox::local_part_is_ascii() const {
    return dns::ascii.contains_all_of(local_part_);
}

std::optional<std::string> parse_reverse_path(std::string_view untrusted) {
    if (untrusted.empty() || untrusted == "<>") return std::string{};
    const auto sender = mailbox::parse(untrusted);
    if (!sender) return std::nullopt;
    return sender->address();
}

}  // namespace callforward::smtpclient
