#include "milter/control/requests.h"

#include "dns/domain.h"
#include "smtpclient/printable.h"

#include <nlohmann/json.hpp>

#include <charconv>
#include <system_error>

namespace callforward::milter::control {

namespace {

using json = nlohmann::ordered_json;
using smtpclient::mailbox;
using smtpclient::printable_utf8;

constexpr std::size_t most_addresses = 50000;
constexpr std::size_t longest_shown = 200;

// An object, or nothing.
std::optional<json> object_of(std::string_view body) {
    json j = json::parse(body, nullptr, false);
    if (!j.is_object()) return std::nullopt;
    return j;
}

std::string text_in(const json& j, const char* name) {
    const auto found = j.find(name);
    return found != j.end() && found->is_string() ? found->get<std::string>() : std::string{};
}

// Writing JSON recurses: 8 MiB of brackets would take more stack than there is.
std::string shown(const json& item) {
    if (item.is_array()) return "an array";
    if (item.is_object()) return "an object";
    return item.is_string() ? item.get<std::string>() : item.dump();
}

}  // namespace

std::optional<forgetting> read_forgetting(std::string_view body, std::string& problem) {
    const auto said = object_of(body);
    const std::string address = said ? text_in(*said, "address") : "";
    const std::string domain = said ? text_in(*said, "domain") : "";
    if (address.empty() == domain.empty()) {
        problem = R"(say {"address": "USER@DOMAIN"} or {"domain": "DOMAIN"}, as JSON)";
        return std::nullopt;
    }
    forgetting f;
    if (!address.empty()) {
        f.text = address;
        f.recipient = mailbox::parse(address);
        if (f.recipient) return f;
        problem = "not an address: " + printable_utf8(address);
        return std::nullopt;
    }
    f.text = domain;
    const auto parsed = dns::domain::parse(domain);
    if (!parsed) {
        problem = "not a domain: " + printable_utf8(domain);
        return std::nullopt;
    }
    f.domain = parsed->name();
    return f;
}

std::optional<address_list> read_address_list(std::string_view body, std::string& problem) {
    const auto said = object_of(body);
    const auto list = said ? said->find("addresses") : json::const_iterator{};
    if (!said || list == said->end() || !list->is_array()) {
        problem = R"(say {"addresses": ["USER@DOMAIN", ...]}, as JSON)";
        return std::nullopt;
    }
    if (list->size() > most_addresses) {
        problem = "at most " + std::to_string(most_addresses) + " addresses in one request";
        return std::nullopt;
    }
    address_list read;
    for (std::size_t i = 0; i < list->size(); ++i) {
        const json& item = (*list)[i];
        const auto parsed =
            item.is_string() ? mailbox::parse(item.get<std::string>()) : std::nullopt;
        if (parsed) {
            read.addresses.push_back(*parsed);
        } else {
            read.bad.push_back({i, printable_utf8(shown(item), longest_shown)});
        }
    }
    return read;
}

std::optional<explanation_wanted> read_explanation_wanted(std::string_view body,
                                                          std::string& problem) {
    const auto said = object_of(body);
    if (!said) {
        problem = R"(say {"rcpt": "USER@DOMAIN"}, as JSON)";
        return std::nullopt;
    }
    explanation_wanted wanted;
    wanted.id = text_in(*said, "id");
    wanted.about.rcpt = text_in(*said, "rcpt");
    wanted.about.from = text_in(*said, "from");
    wanted.about.client = text_in(*said, "client");
    wanted.about.mta_route = text_in(*said, "mta_route");
    const auto dry = said->find("dry");
    wanted.about.dry = dry != said->end() && dry->is_boolean() && dry->get<bool>();
    return wanted;
}

std::string to_hex(std::string_view bytes) {
    constexpr std::string_view digits = "0123456789abcdef";
    std::string hex;
    for (const char c : bytes) {
        const auto byte = static_cast<unsigned char>(c);
        hex += digits[byte >> 4U];
        hex += digits[byte & 15U];
    }
    return hex;
}

std::optional<std::string> from_hex(std::string_view untrusted) {
    constexpr int base = 16;
    constexpr std::size_t longest = 128;
    if (untrusted.size() % 2 != 0 || untrusted.size() > longest) return std::nullopt;
    std::string bytes;
    for (std::size_t i = 0; i < untrusted.size(); i += 2) {
        unsigned byte = 0;
        const auto [end, error] =
            std::from_chars(untrusted.data() + i, untrusted.data() + i + 2, byte, base);
        if (error != std::errc{} || end != untrusted.data() + i + 2) return std::nullopt;
        bytes += static_cast<char>(byte);
    }
    return bytes;
}

std::size_t number_or(std::string_view untrusted, std::size_t otherwise) {
    std::size_t number = 0;
    const char* const end = untrusted.data() + untrusted.size();
    const auto [stop, error] = std::from_chars(untrusted.data(), end, number);
    return error == std::errc{} && stop == end ? number : otherwise;
}

}  // namespace callforward::milter::control
