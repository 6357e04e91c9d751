// From a question's destination to hosts, and from a host to endpoints: where DNS meets [routing].
//
// Each step gives what was found, or the verdict that there is nothing to find. A domain makes its
// recipient undeliverable only when it is the recipient's own: that the name of a configured hop
// does not exist is our problem.
#pragma once

#include "dns/resolver.h"
#include "dns/route.h"
#include "smtpclient/connect.h"
#include "smtpclient/question.h"
#include "smtpclient/target.h"
#include "smtpclient/verdict.h"

#include <asio/awaitable.hpp>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace callforward::smtpclient {

struct reach;
class mta_sts;

struct found_endpoints {
    std::vector<endpoint> endpoints;             // families alternating
    std::optional<smtpclient::verdict> verdict;  // when there are none
    bool is_self = false;
    bool no_addresses = false;  // DNS says so, for certain
    bool secure = false;        // DNSSEC vouches for the addresses of a name
    std::string canonical;      // that name after CNAMEs
};
// resolver and r are kept by the caller until the end; tell may be empty.
[[nodiscard]] asio::awaitable<found_endpoints> find_endpoints(dns::resolver& resolver,
                                                              std::shared_ptr<const reach> r,
                                                              target t,
                                                              trace observer);

// Of hosts of one preference, the first that has an address of this host, as the verdict on who
// visits it. Addresses are looked up only where one can be this host, and no longer than until the
// deadline; what is not known by then may be this host unnoticed.
[[nodiscard]] asio::awaitable<std::optional<verdict>> find_this_host(dns::resolver& resolver,
                                                                     std::shared_ptr<const reach> r,
                                                                     std::vector<target> equals,
                                                                     steady_time deadline,
                                                                     trace observer);

class target_finder {
public:
    // All must outlive the finder.
    target_finder(dns::resolver& resolver, const reach& r, mta_sts& sts, const question& q);

    struct targets {
        std::vector<target> targets;
        std::optional<smtpclient::verdict> verdict;
    };
    // Of the hop with this index; of the recipient's domain when the destination is its MX.
    [[nodiscard]] asio::awaitable<targets> targets_of_hop(std::size_t index, std::uint32_t seed);

    // Everything seen so far: what a client must not be told, and MX hosts in the order of trial.
    [[nodiscard]] const std::vector<std::string>& names() const { return names_; }
    [[nodiscard]] const std::vector<std::string>& exchangers() const { return exchangers_; }
    // What is worth a word in the log, whatever comes of the question; "" when nothing is.
    [[nodiscard]] const std::string& remark() const { return remark_; }

private:
    [[nodiscard]] asio::awaitable<targets> targets_of_domain(dns::domain name,
                                                             target like,
                                                             std::uint32_t seed);
    [[nodiscard]] asio::awaitable<targets> by_sts(targets found, dns::domain name);
    [[nodiscard]] verdict nothing(verdict_class c, reason r, std::string why) const;
    [[nodiscard]] verdict no_mail_for(const dns::domain& name, reason r, std::string why) const;
    [[nodiscard]] bool is_recipients(const dns::domain& name) const;
    [[nodiscard]] dns::own_names own_names() const;
    void tell(const std::string& what) const;

    dns::resolver& resolver_;
    const reach& reach_;
    mta_sts& sts_;
    const question& question_;
    std::vector<std::string> names_;
    std::vector<std::string> exchangers_;
    std::string remark_;
};

}  // namespace callforward::smtpclient
