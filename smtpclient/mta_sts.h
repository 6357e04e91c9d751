// MTA-STS (RFC 8461): what a domain says about the TLS of its mail exchangers, looked up and kept.
//
// A TXT record tells that there is a policy, and by its id that there is a new one; the policy
// comes over HTTPS. It is kept for its max_age, a year at most, and a failed fetch or look-up does
// not end it before. A fetch blocks, so it runs on a thread of its own: at most 8 at once, one for
// each domain, ended by the fetcher's own bounds; who asks waits no longer than its deadline, and
// what comes later is there for the next question. At most 10000 domains are kept. Owner and
// thread: one event loop thread; threads of fetches may outlive it, and then nobody hears of them.
#pragma once

#include "dns/resolver.h"
#include "smtpclient/connection.h"
#include "smtpclient/fetch_sts_policy.h"
#include "smtpclient/sts_policy.h"

#include <asio/any_io_executor.hpp>
#include <asio/awaitable.hpp>

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace callforward::smtpclient {

// The document of a domain, whose name is valid, from its web host at one of these addresses.
// Blocks, on a thread of its own, for 10 seconds at most.
using sts_fetcher = std::function<sts_document(const std::string& domain,
                                               const std::vector<dns::ip_address>& addresses)>;

class mta_sts {
public:
    mta_sts(asio::any_io_executor executor, sts_fetcher fetch);
    ~mta_sts();
    mta_sts(const mta_sts&) = delete;
    mta_sts& operator=(const mta_sts&) = delete;

    struct way {  // kept by the caller
        dns::resolver& resolver;
        const std::vector<dns::network>& deny;  // addresses that are not fetched from
        trace observer;                         // may be empty
    };
    // Nothing: the domain has none, or none is known.
    [[nodiscard]] asio::awaitable<std::optional<sts_policy>> policy_of(dns::domain name,
                                                                       const way& by,
                                                                       steady_time deadline);

private:
    struct kept {
        sts_policy policy;
        std::string id;
        steady_time until;
    };
    struct fetch_under_way;
    struct threads;

    [[nodiscard]] const kept* find(const std::string& name);
    [[nodiscard]] asio::awaitable<std::string> announced_id(dns::domain name,
                                                            const way& by,
                                                            steady_time deadline);
    [[nodiscard]] asio::awaitable<std::vector<dns::ip_address>> web_host(dns::domain name,
                                                                         const way& by,
                                                                         steady_time deadline);
    [[nodiscard]] std::shared_ptr<fetch_under_way> fetch(const std::string& name,
                                                         const std::string& id,
                                                         const std::vector<dns::ip_address>& from);
    // On the fetch's thread. False: no memory now.
    [[nodiscard]] static bool hand_over(const std::shared_ptr<threads>& shared,
                                        const std::string& name,
                                        const std::string& id,
                                        const sts_document& got);
    [[nodiscard]] std::string learn(const std::string& name,
                                    const std::string& id,
                                    const sts_document& got);
    void finish(const std::string& name, const std::string& id, const sts_document& got);
    void make_room();

    asio::any_io_executor executor_;
    sts_fetcher fetch_;
    std::map<std::string, kept> policies_;
    std::map<std::string, std::shared_ptr<fetch_under_way>> under_way_;
    // A domain whose fetch failed is not fetched again for five minutes (RFC 8461 section 3.3).
    std::map<std::string, steady_time> failed_until_;
    // Shared with the threads, which must find out that we are gone.
    std::shared_ptr<threads> threads_;
};

}  // namespace callforward::smtpclient
