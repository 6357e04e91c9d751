#include "milter/fleet/store_address.h"

#include "dns/domain.h"
#include "dns/ip.h"
#include "smtpclient/printable.h"

#include <algorithm>
#include <charconv>
#include <optional>

namespace callforward::milter::fleet {

namespace {

constexpr std::uint16_t redis_port = 6379;
constexpr std::uint16_t sentinel_port = 26379;
constexpr std::size_t most_sentinels = 16;
constexpr std::size_t longest_prefix = 64;
constexpr std::size_t longest_socket_path = 107;  // unix(7)
constexpr unsigned most_databases = 16384;

std::string quoted(std::string_view untrusted) {
    return '"' + smtpclient::printable(untrusted, 100) + '"';
}

bool take_prefix(std::string_view& text, std::string_view prefix) {
    if (!text.starts_with(prefix)) return false;
    text.remove_prefix(prefix.size());
    return true;
}

// What stands before the first `separator`; text becomes what stands after it.
std::string_view take_until(std::string_view& text, char separator) {
    const auto end = text.find(separator);
    const std::string_view part = text.substr(0, end);
    text = end == std::string_view::npos ? std::string_view{} : text.substr(end + 1);
    return part;
}

template <class Number>
std::optional<Number> number_of(std::string_view text) {
    Number value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
    return value;
}

bool is_plain(std::string_view text) {
    return std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < 0x7f; });
}

std::string parse_host(std::string_view text, std::uint16_t usual_port, store_host& into) {
    std::string_view port;
    std::string_view name = text;
    if (text.starts_with('[')) {
        const auto close = text.find(']');
        if (close == std::string_view::npos) return "has a \"[\" without \"]\"";
        name = text.substr(1, close - 1);
        port = text.substr(close + 1);
    } else if (const auto colon = text.find(':'); colon != std::string_view::npos) {
        name = text.substr(0, colon);
        port = text.substr(colon);
    }
    into.port = usual_port;
    if (!port.empty()) {
        const auto number = number_of<std::uint16_t>(port.substr(1));
        if (port.front() != ':' || !number || *number == 0) {
            return "has no port in " + quoted(text);
        }
        into.port = *number;
    }
    if (const auto address = dns::ip_address::parse(name)) {
        into.name = address->text();
    } else if (const auto host = dns::domain::parse(name)) {
        into.name = host->name();
    } else {
        return "names no host in " + quoted(text);
    }
    return {};
}

std::string parse_database(std::string_view text, store_address& into) {
    const auto number = number_of<unsigned>(text);
    if (!number || *number >= most_databases) return "has no database number in " + quoted(text);
    into.database = *number;
    return {};
}

std::string parse_file(std::string_view text, std::string& into) {
    if (!text.starts_with('/')) return "needs an absolute path, not " + quoted(text);
    into = text;
    return {};
}

std::string parse_parameter(std::string_view name, std::string_view value, store_address& into) {
    if (name == "prefix") {
        // A brace would move the hash tag that keeps a recipient's keys together.
        const bool good = !value.empty() && value.size() <= longest_prefix && is_plain(value) &&
                          value.find_first_of("{}") == std::string_view::npos;
        if (!good) return "needs a prefix of 1 to 64 printable characters without braces";
        into.prefix = value;
        return {};
    }
    if (name == "db") return parse_database(value, into);
    if (name == "ca_file") return parse_file(value, into.ca_file);
    if (name == "cert_file") return parse_file(value, into.cert_file);
    if (name == "key_file") return parse_file(value, into.key_file);
    return "knows no parameter " + quoted(name) +
           "; there are prefix, db, ca_file, cert_file and key_file";
}

std::string parse_parameters(std::string_view text, store_address& into) {
    while (!text.empty()) {
        std::string_view value = take_until(text, '&');
        const std::string_view name = take_until(value, '=');
        if (std::string wrong = parse_parameter(name, value, into); !wrong.empty()) return wrong;
    }
    const bool tls_files =
        !into.ca_file.empty() || !into.cert_file.empty() || !into.key_file.empty();
    if (tls_files && !into.tls) return "has TLS files, but is no \"rediss://\"";
    if (into.cert_file.empty() != into.key_file.empty()) {
        return "needs cert_file and key_file together";
    }
    return {};
}

std::string parse_server(std::string_view text, store_address& into) {
    const std::string_view host = take_until(text, '/');
    if (host.find('@') != std::string_view::npos) {
        return "must hold no user or password: use store_user and store_password_file";
    }
    std::string wrong = parse_host(host, redis_port, into.hosts.emplace_back());
    if (wrong.empty() && !text.empty()) wrong = parse_database(text, into);
    return wrong;
}

std::string parse_sentinels(std::string_view text, store_address& into) {
    std::string_view hosts = take_until(text, '/');
    while (!hosts.empty()) {
        if (into.hosts.size() == most_sentinels) return "names more than 16 sentinels";
        const std::string_view one = take_until(hosts, ',');
        std::string wrong = parse_host(one, sentinel_port, into.hosts.emplace_back());
        if (!wrong.empty()) return wrong;
    }
    if (into.hosts.empty()) return "names no sentinel";
    into.master = take_until(text, '/');
    if (into.master.empty() || !is_plain(into.master)) {
        return "names no master, as in \"redis+sentinel://10.0.0.1,10.0.0.2/mymaster\"";
    }
    return text.empty() ? std::string() : parse_database(text, into);
}

std::string parse_socket(std::string_view text, store_address& into) {
    if (!text.starts_with('/') || text.size() > longest_socket_path) {
        return "needs an absolute path of at most 107 bytes, not " + quoted(text);
    }
    into.socket_path = text;
    return {};
}

}  // namespace

std::string store_host::text() const {
    const bool v6 = name.find(':') != std::string::npos;
    return (v6 ? '[' + name + ']' : name) + ':' + std::to_string(port);
}

bool is_shared_store(std::string_view store) {
    return store.starts_with("redis:") || store.starts_with("rediss:") ||
           store.starts_with("redis+") || store.starts_with("rediss+");
}

std::string parse_store_address(std::string_view text, store_address& into) {
    into = store_address{};
    if (!is_plain(text)) return "must be printable ASCII without blanks";
    std::string_view rest = take_until(text, '?');
    std::string wrong;
    if (take_prefix(rest, "redis://")) {
        wrong = parse_server(rest, into);
    } else if (take_prefix(rest, "rediss://")) {
        into.tls = true;
        wrong = parse_server(rest, into);
    } else if (take_prefix(rest, "redis+sentinel://")) {
        wrong = parse_sentinels(rest, into);
    } else if (take_prefix(rest, "rediss+sentinel://")) {
        into.tls = true;
        wrong = parse_sentinels(rest, into);
    } else if (take_prefix(rest, "redis+unix:")) {
        wrong = parse_socket(rest, into);
    } else {
        return "must begin with \"redis://\", \"rediss://\", \"redis+unix:/\" or "
               "\"redis+sentinel://\"";
    }
    return wrong.empty() ? parse_parameters(text, into) : wrong;
}

}  // namespace callforward::milter::fleet
