// The call-forward itself: one question, asked of the hosts of its route until one of them answers.
//
// Hosts are tried in order; the next after a connect error, a timeout, 421, a 4xx, a broken
// session, or a refusal of us before MAIL; never after a 2xx or 5xx to MAIL or RCPT. When none
// answers, the verdict is the one of the host that the conversation got furthest with. At most 20
// connections and 25 hosts are tried for one question. Undeliverable comes only from classify() at
// RCPT, or from DNS: the domain does not exist, or has a null MX. Sessions are kept and shared by
// all questions that lead to the same host in the same manner (host.h). Owner and thread: one event
// loop thread; must outlive its questions.
#pragma once

#include "dns/ip.h"
#include "dns/resolver.h"
#include "dns/route.h"
#include "smtpclient/catch_all.h"
#include "smtpclient/connection.h"
#include "smtpclient/session_limits.h"
#include "smtpclient/verifier.h"

#include <asio/any_io_executor.hpp>

#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

namespace callforward::smtpclient {

struct reach {  // whom a call-forward may contact ([routing])
    std::vector<dns::network>
        deny;  // where a name or MX may not lead; literals of a route are exempt
    dns::own_names my_names;
    std::set<dns::ip_address> my_addresses;

    bool operator==(const reach&) const = default;
};
// A valid domain name, or "localhost": what to say in EHLO where nobody says otherwise.
[[nodiscard]] std::string own_host_name();
// This host's name and the addresses of its interfaces, without loopback, which [routing] deny
// covers.
[[nodiscard]] reach this_host();
// [routing] deny as it is by default: networks that no mail host on the Internet has.
[[nodiscard]] std::vector<dns::network> default_deny();

class host;
struct target;

class call_forward final : public verifier {
public:
    // The resolver must outlive it.
    call_forward(asio::any_io_executor executor,
                 dns::resolver& resolver,
                 reach r,
                 const session_limits& limits = {});
    ~call_forward() override;

    [[nodiscard]] asio::awaitable<verdict> verify(question q) override;
    [[nodiscard]] std::size_t hosts_kept() const { return hosts_.size(); }

private:
    class journey;

    [[nodiscard]] std::shared_ptr<host> host_for(const target& t, const question& q);
    void forget_idle_hosts();

    asio::any_io_executor executor_;
    dns::resolver& resolver_;
    // Shared with hosts, which may still be opening a session when this is gone.
    std::shared_ptr<const reach> reach_;
    const session_limits limits_;
    std::map<std::string, std::shared_ptr<host>, std::less<>> hosts_;
    std::map<tls_version, std::shared_ptr<tls_context>> contexts_;
    catch_all_findings catch_all_;
    std::minstd_rand random_;
};

}  // namespace callforward::smtpclient
