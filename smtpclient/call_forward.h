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

#include "dns/resolver.h"
#include "smtpclient/catch_all.h"
#include "smtpclient/connection.h"
#include "smtpclient/host_state.h"
#include "smtpclient/late_rejecters.h"
#include "smtpclient/mta_sts.h"
#include "smtpclient/reach.h"
#include "smtpclient/refused_senders.h"
#include "smtpclient/session_limits.h"
#include "smtpclient/verifier.h"

#include <asio/any_io_executor.hpp>

#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace callforward::smtpclient {

class allowance;
class catch_all_trial;
class host;
struct target;

class call_forward final : public verifier {
public:
    // The resolver must outlive it. policies: of MTA-STS, which hold for what they say however
    // often a call_forward is made anew; nothing: it begins without any.
    call_forward(asio::any_io_executor executor,
                 dns::resolver& resolver,
                 reach r,
                 const session_limits& limits = {},
                 std::shared_ptr<mta_sts> policies = nullptr);
    ~call_forward() override;

    // Where several processes share a limit: before the first verify().
    void share(std::shared_ptr<allowance> a) { allowance_ = std::move(a); }
    [[nodiscard]] asio::awaitable<verdict> verify(question q) override;
    // Before the first question: who is told of hosts that refuse at DATA only.
    void tell_of_late_rejecters(late_rejecters::advice to) { late_rejecters_.tell(std::move(to)); }
    [[nodiscard]] bool rejects_late(const std::string& host, std::uint16_t port) const {
        return late_rejecters_.knows(host, port);
    }
    // What was found out about a domain, by recipients or senders of it, is to be asked anew; "":
    // of all domains.
    void forget(std::string_view lower_case) {
        catch_all_.forget(lower_case);
        refused_.forget_domain(lower_case);
    }
    [[nodiscard]] std::size_t hosts_kept() const { return hosts_.size(); }
    [[nodiscard]] std::vector<host_state> hosts() const;

private:
    class journey;

    [[nodiscard]] std::shared_ptr<host> host_for(const target& t, const question& q);
    [[nodiscard]] std::shared_ptr<const tls_context> context_for(const tls_policy& policy);
    void forget_idle_hosts();

    asio::any_io_executor executor_;
    dns::resolver& resolver_;
    // Shared with hosts, which may still be opening a session when this is gone.
    std::shared_ptr<const reach> reach_;
    const session_limits limits_;
    std::shared_ptr<allowance> allowance_;  // shared with the hosts
    std::map<std::string, std::shared_ptr<host>, std::less<>> hosts_;
    // As long as a host uses them.
    std::map<std::string, std::weak_ptr<const tls_context>, std::less<>> contexts_;
    catch_all_findings catch_all_;
    // By the same keys; each as long as it is made.
    std::map<std::string, std::weak_ptr<catch_all_trial>, std::less<>> trials_;
    refused_senders refused_;
    late_rejecters late_rejecters_;
    std::shared_ptr<mta_sts> sts_;
    std::minstd_rand random_;
};

}  // namespace callforward::smtpclient
