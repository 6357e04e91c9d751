// A resolver that knows what a test told it. A name it was not told of fails the test.
//
// Answers come at once; a silent name's never. Made for one event loop, which must be destroyed
// after it and must not run then.
#pragma once

#include "dns/resolver.h"

#include <asio/any_io_executor.hpp>

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace callforward::testing {

class fake_resolver final : public dns::resolver {
public:
    explicit fake_resolver(asio::any_io_executor executor) : executor_(std::move(executor)) {}

    // "." is the null MX; no hosts at all: the name exists, without MX records.
    void mx(const std::string& name, const std::vector<std::pair<int, std::string>>& hosts);
    // None: the name exists, without addresses.
    void address(const std::string& name, const std::vector<std::string>& addresses);
    void no_such_name(const std::string& name);
    void unavailable(const std::string& name);
    void silent(const std::string& name);
    // What was told about the name, and about its TLSA records, DNSSEC vouches for.
    void sign(const std::string& name);
    // The name that the one asked leads to, for its addresses.
    void alias(const std::string& name, const std::string& canonical);  // of a host
    void domain_alias(const std::string& name,
                      const std::string& canonical);  // of a domain with MX
    void tlsa(const std::string& name, const std::vector<dns::tlsa>& records);
    void tlsa_unavailable(const std::string& name);
    void text(const std::string& name, const std::vector<std::string>& records);

    [[nodiscard]] asio::awaitable<dns::answer<dns::mx>> mail_exchangers(dns::domain of) override;
    [[nodiscard]] asio::awaitable<dns::answer<dns::ip_address>> addresses(dns::domain of) override;
    [[nodiscard]] asio::awaitable<dns::answer<dns::tlsa>> tlsa_records(dns::domain of,
                                                                       std::uint16_t port) override;
    [[nodiscard]] asio::awaitable<dns::answer<std::string>> texts(dns::domain of) override;

    // "MX next.test", "A mx.next.test", "TLSA mx.next.test", in the order of the questions.
    [[nodiscard]] const std::vector<std::string>& asked() const { return asked_; }

private:
    template <class Record>
    asio::awaitable<dns::answer<Record>> answer_from(
        const std::map<std::string, dns::answer<Record>>& known, std::string name, bool silent);

    asio::any_io_executor executor_;
    std::map<std::string, dns::answer<dns::mx>> mx_;
    std::map<std::string, dns::answer<dns::ip_address>> addresses_;
    std::map<std::string, dns::answer<dns::tlsa>> tlsa_;  // whatever the port
    std::map<std::string, dns::answer<std::string>> texts_;
    std::set<std::string> silent_;
    std::vector<std::string> asked_;
};

}  // namespace callforward::testing
