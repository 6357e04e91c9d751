#include "smtpclient/verdict.h"

#include <algorithm>
#include <array>
#include <utility>

namespace callforward::smtpclient {

namespace {

constexpr std::array reasons{
    std::pair{reason::accepted, std::string_view("accepted")},
    std::pair{reason::catch_all, std::string_view("catch_all")},
    std::pair{reason::unknown_user, std::string_view("unknown_user")},
    std::pair{reason::disabled, std::string_view("disabled")},
    std::pair{reason::moved, std::string_view("moved")},
    std::pair{reason::mailbox_full, std::string_view("mailbox_full")},
    std::pair{reason::no_such_domain, std::string_view("no_such_domain")},
    std::pair{reason::null_mx, std::string_view("null_mx")},
    std::pair{reason::bad_address, std::string_view("bad_address")},
    std::pair{reason::sender_refused, std::string_view("sender_refused")},
    std::pair{reason::deferred, std::string_view("deferred")},
    std::pair{reason::greylisted, std::string_view("greylisted")},
    std::pair{reason::throttled, std::string_view("throttled")},
    std::pair{reason::client_refused, std::string_view("client_refused")},
    std::pair{reason::auth_required, std::string_view("auth_required")},
    std::pair{reason::policy, std::string_view("policy")},
    std::pair{reason::dns_unavailable, std::string_view("dns_unavailable")},
    std::pair{reason::connect_failed, std::string_view("connect_failed")},
    std::pair{reason::timed_out, std::string_view("timed_out")},
    std::pair{reason::disconnected, std::string_view("disconnected")},
    std::pair{reason::protocol_error, std::string_view("protocol_error")},
    std::pair{reason::no_usable_host, std::string_view("no_usable_host")},
    std::pair{reason::loop, std::string_view("loop")},
    std::pair{reason::host_penalty, std::string_view("host_penalty")},
    std::pair{reason::overloaded, std::string_view("overloaded")},
    std::pair{reason::smtputf8, std::string_view("smtputf8")},
    std::pair{reason::tls_not_offered, std::string_view("tls_not_offered")},
    std::pair{reason::tls_failed, std::string_view("tls_failed")},
    std::pair{reason::certificate, std::string_view("certificate")},
    std::pair{reason::dane_failed, std::string_view("dane_failed")},
    std::pair{reason::not_in_scope, std::string_view("not_in_scope")},
    std::pair{reason::exempt, std::string_view("exempt")},
    std::pair{reason::local, std::string_view("local")},
    std::pair{reason::alias, std::string_view("alias")},
    std::pair{reason::off, std::string_view("off")},
};

constexpr std::array stages{
    std::pair{stage::none, std::string_view("none")},
    std::pair{stage::route, std::string_view("route")},
    std::pair{stage::connect, std::string_view("connect")},
    std::pair{stage::greeting, std::string_view("greeting")},
    std::pair{stage::ehlo, std::string_view("ehlo")},
    std::pair{stage::helo, std::string_view("helo")},
    std::pair{stage::starttls, std::string_view("starttls")},
    std::pair{stage::handshake, std::string_view("handshake")},
    std::pair{stage::auth, std::string_view("auth")},
    std::pair{stage::xclient, std::string_view("xclient")},
    std::pair{stage::mail, std::string_view("mail")},
    std::pair{stage::rcpt, std::string_view("rcpt")},
    std::pair{stage::data, std::string_view("data")},
};

template <class Table, class Value>
std::string_view name_of(const Table& table, Value value) {
    for (const auto& [entry, name] : table) {
        if (entry == value) return name;
    }
    return "?";
}

template <class Table>
auto value_of(const Table& table, std::string_view name)
    -> std::optional<typename Table::value_type::first_type> {
    for (const auto& [entry, its_name] : table) {
        if (its_name == name) return entry;
    }
    return std::nullopt;
}

template <class Table>
std::vector<std::string_view> names_of(const Table& table) {
    std::vector<std::string_view> names;
    for (const auto& entry : table) names.push_back(entry.second);
    return names;
}

}  // namespace

std::string_view to_string(outcome o) {
    switch (o) {
        case outcome::deliverable:
            return "deliverable";
        case outcome::undeliverable:
            return "undeliverable";
        case outcome::undetermined:
            return "undetermined";
    }
    return "?";
}

std::string_view to_string(verdict_class c) {
    switch (c) {
        case verdict_class::deliverable:
            return "deliverable";
        case verdict_class::undeliverable:
            return "undeliverable";
        case verdict_class::sender_refused:
            return "sender_refused";
        case verdict_class::deferred:
            return "deferred";
        case verdict_class::refused:
            return "refused";
        case verdict_class::unreachable:
            return "unreachable";
        case verdict_class::insecure:
            return "insecure";
        case verdict_class::skipped:
            return "skipped";
    }
    return "?";
}

std::string_view to_string(reason r) {
    return name_of(reasons, r);
}

std::string_view to_string(stage s) {
    return name_of(stages, s);
}

std::optional<reason> parse_reason(std::string_view name) {
    return value_of(reasons, name);
}

std::optional<stage> parse_stage(std::string_view name) {
    return value_of(stages, name);
}

const std::vector<std::string_view>& reason_names() {
    static const auto names = names_of(reasons);
    return names;
}

const std::vector<std::string_view>& stage_names() {
    static const auto names = names_of(stages);
    return names;
}

verdict_class usual_class(reason r) {
    switch (r) {
        case reason::accepted:
        case reason::catch_all:
            return verdict_class::deliverable;
        case reason::unknown_user:
        case reason::disabled:
        case reason::moved:
        case reason::mailbox_full:
        case reason::no_such_domain:
        case reason::null_mx:
        case reason::bad_address:
            return verdict_class::undeliverable;
        case reason::sender_refused:
            return verdict_class::sender_refused;
        case reason::deferred:
        case reason::greylisted:
        case reason::throttled:
            return verdict_class::deferred;
        case reason::client_refused:
        case reason::auth_required:
        case reason::policy:
            return verdict_class::refused;
        case reason::dns_unavailable:
        case reason::connect_failed:
        case reason::timed_out:
        case reason::disconnected:
        case reason::protocol_error:
        case reason::no_usable_host:
        case reason::loop:
        case reason::host_penalty:
        case reason::overloaded:
        case reason::smtputf8:
            return verdict_class::unreachable;
        case reason::tls_not_offered:
        case reason::tls_failed:
        case reason::certificate:
        case reason::dane_failed:
            return verdict_class::insecure;
        case reason::not_in_scope:
        case reason::exempt:
        case reason::local:
        case reason::alias:
        case reason::off:
            return verdict_class::skipped;
    }
    return verdict_class::unreachable;
}

outcome verdict::outcome() const {
    switch (finding.verdict_class) {
        case verdict_class::deliverable:
            return outcome::deliverable;
        case verdict_class::undeliverable:
            return outcome::undeliverable;
        case verdict_class::sender_refused:
        case verdict_class::deferred:
        case verdict_class::refused:
        case verdict_class::unreachable:
        case verdict_class::insecure:
        case verdict_class::skipped:
            return outcome::undetermined;
    }
    return outcome::undetermined;
}

bool about_recipient_alone(const verdict& v) {
    switch (v.finding.verdict_class) {
        case verdict_class::deliverable:
            return true;
        case verdict_class::undeliverable: {
            if (!v.reply) return true;  // no such domain, null MX, impossible address
            const auto enhanced = v.reply->enhanced();
            return enhanced &&
                   (enhanced->subject == 1 || (enhanced->subject == 2 && enhanced->detail == 1));
        }
        case verdict_class::sender_refused:
        case verdict_class::deferred:
        case verdict_class::refused:
        case verdict_class::unreachable:
        case verdict_class::insecure:
        case verdict_class::skipped:
            return false;
    }
    return false;
}

}  // namespace callforward::smtpclient
