#include "tests/smtpclient/fake_resolver.h"

#include <asio/redirect_error.hpp>
#include <asio/steady_timer.hpp>
#include <asio/use_awaitable.hpp>
#include <doctest/doctest.h>

namespace callforward::testing {

namespace {

template <class Record>
dns::answer<Record> answer_of(dns::status status, std::vector<Record> records) {
    dns::answer<Record> a;
    a.status = status;
    a.records = std::move(records);
    if (status == dns::status::unavailable) a.why = "SERVFAIL";
    return a;
}

}  // namespace

void fake_resolver::mx(const std::string& name,
                       const std::vector<std::pair<int, std::string>>& hosts) {
    std::vector<dns::mx> records;
    for (const auto& [preference, host] : hosts) {
        records.push_back({static_cast<std::uint16_t>(preference), dns::domain::parse(host)});
    }
    mx_[name] = answer_of(records.empty() ? dns::status::no_data : dns::status::found, records);
}

void fake_resolver::address(const std::string& name, const std::vector<std::string>& addresses) {
    std::vector<dns::ip_address> records;
    for (const auto& text : addresses) records.push_back(dns::ip_address::parse(text).value());
    addresses_[name] =
        answer_of(records.empty() ? dns::status::no_data : dns::status::found, records);
}

void fake_resolver::no_such_name(const std::string& name) {
    mx_[name] = answer_of<dns::mx>(dns::status::no_such_name, {});
    addresses_[name] = answer_of<dns::ip_address>(dns::status::no_such_name, {});
}

void fake_resolver::unavailable(const std::string& name) {
    mx_[name] = answer_of<dns::mx>(dns::status::unavailable, {});
    addresses_[name] = answer_of<dns::ip_address>(dns::status::unavailable, {});
}

void fake_resolver::silent(const std::string& name) {
    silent_.insert(name);
}

void fake_resolver::sign(const std::string& name) {
    if (mx_.contains(name)) mx_[name].secure = true;
    if (addresses_.contains(name)) addresses_[name].secure = true;
    if (tlsa_.contains(name)) tlsa_[name].secure = true;
}

void fake_resolver::alias(const std::string& name, const std::string& canonical) {
    addresses_[name] = addresses_.at(canonical);
    addresses_[name].canonical = canonical;
}

void fake_resolver::domain_alias(const std::string& name, const std::string& canonical) {
    mx_[name] = mx_.at(canonical);
    mx_[name].canonical = canonical;
}

void fake_resolver::tlsa(const std::string& name, const std::vector<dns::tlsa>& records) {
    tlsa_[name] = answer_of(records.empty() ? dns::status::no_data : dns::status::found, records);
}

void fake_resolver::tlsa_unavailable(const std::string& name) {
    tlsa_[name] = answer_of<dns::tlsa>(dns::status::unavailable, {});
}

void fake_resolver::text(const std::string& name, const std::vector<std::string>& records) {
    texts_[name] = answer_of(records.empty() ? dns::status::no_data : dns::status::found, records);
}

template <class Record>
asio::awaitable<dns::answer<Record>> fake_resolver::answer_from(
    const std::map<std::string, dns::answer<Record>>& known, std::string name, bool silent) {
    if (silent) {
        asio::steady_timer never(executor_, std::chrono::steady_clock::time_point::max());
        std::error_code ignored;
        auto token = asio::redirect_error(asio::use_awaitable, ignored);
        co_await never.async_wait(token);
    }
    const auto found = known.find(name);
    if (found != known.end()) co_return found->second;
    FAIL_CHECK("unexpected question: " << name);
    co_return dns::answer<Record>{};
}

asio::awaitable<dns::answer<dns::mx>> fake_resolver::mail_exchangers(dns::domain of) {
    asked_.push_back("MX " + of.name());
    return answer_from(mx_, of.name(), silent_.contains(of.name()));
}

asio::awaitable<dns::answer<dns::ip_address>> fake_resolver::addresses(dns::domain of) {
    asked_.push_back("A " + of.name());
    return answer_from(addresses_, of.name(), silent_.contains(of.name()));
}

asio::awaitable<dns::answer<dns::tlsa>> fake_resolver::tlsa_records(dns::domain of, std::uint16_t) {
    asked_.push_back("TLSA " + of.name());
    return answer_from(tlsa_, of.name(), silent_.contains(of.name()));
}

asio::awaitable<dns::answer<std::string>> fake_resolver::texts(dns::domain of) {
    asked_.push_back("TXT " + of.name());
    return answer_from(texts_, of.name(), silent_.contains(of.name()));
}

}  // namespace callforward::testing
