#include "smtpclient/query.h"

#include "dns/ares_resolver.h"
#include "smtpclient/call_forward.h"
#include "smtpclient/printable.h"

#include <asio/co_spawn.hpp>
#include <asio/io_context.hpp>
#include <asio/steady_timer.hpp>

#include <algorithm>
#include <stdexcept>

namespace callforward::smtpclient {

namespace {

next_hop to_hop(const query_options& options) {
    std::string error;
    std::string_view host = options.host;
    const bool prefixed =
        host.starts_with("smtp:") || host.starts_with("smtps:") || host.starts_with("lmtp:");
    if (options.lmtp && prefixed && !host.starts_with("lmtp:")) {
        throw std::invalid_argument("lmtp: \"" + printable(options.host, 100) +
                                    "\" is to be spoken to by SMTP");
    }
    const bool lmtp = options.lmtp || host.starts_with("unix:");
    const std::string text = lmtp && !prefixed ? "lmtp:" + options.host : options.host;
    auto hop = parse_next_hop(text, error);
    if (!hop) throw std::invalid_argument("host: " + error);
    if (options.port != 0) hop->port = options.port;
    return *hop;
}

std::vector<dns::ip_address> to_addresses(const std::vector<std::string>& texts) {
    std::vector<dns::ip_address> addresses;
    for (const auto& text : texts) {
        const auto address = dns::ip_address::parse(text);
        const bool fits =
            address && std::none_of(addresses.begin(), addresses.end(), [&](const auto& other) {
                return other.is_v4() == address->is_v4();
            });
        if (!fits) {
            throw std::invalid_argument(
                "source_address: \"" + printable(text, 100) +
                (address ? "\" is a second one of its family" : "\" is not an address"));
        }
        addresses.push_back(*address);
    }
    return addresses;
}

verdict impossible(std::string why) {
    verdict v;
    v.finding = {verdict_class::undeliverable, reason::bad_address};
    v.stage = stage::none;
    v.detail = std::move(why);
    return v;
}

question to_question(const query_options& options, mailbox recipient) {
    // No MTA speaks LMTP to hosts found by MX, and to ask them by SMTP is not what was said.
    if (options.lmtp && options.host.empty()) {
        throw std::invalid_argument(
            "lmtp: needs a host: the mail exchangers of a domain speak SMTP");
    }
    question q;
    q.recipient = std::move(recipient);
    const auto sender = parse_reverse_path(options.mailfrom);
    if (!sender) {
        throw std::invalid_argument("mailfrom: \"" + printable_utf8(options.mailfrom, 100) +
                                    "\" is not a mail address");
    }
    q.sender = *sender;
    q.to.recipient_mx = options.host.empty();
    if (!q.to.recipient_mx) q.to.hops.push_back(to_hop(options));
    transport by;
    by.port = options.port != 0 ? options.port : 25;
    by.tls = options.tls;
    by.timeout = options.timeout;
    // One host that is slow is what the caller wants to wait for.
    by.reply_timeout = options.timeout;
    by.connect_timeout = std::min(by.connect_timeout, options.timeout);
    by.helo = options.helo.empty() ? own_host_name() : options.helo;
    by.source_addresses = to_addresses(options.source_address);
    q.by = std::make_shared<const transport>(std::move(by));
    q.deadline = std::chrono::steady_clock::now() + options.timeout;
    q.trace = options.trace;
    return q;
}

}  // namespace

prepared_query prepare(const query_options& options) {
    prepared_query prepared;
    if (options.rcptto.empty()) throw std::invalid_argument("rcptto: an address is needed");
    if (!options.helo.empty() && !dns::domain::parse(options.helo) &&
        !(options.helo.front() == '[' && options.helo.back() == ']' &&
          dns::ip_address::parse_literal(options.helo.substr(1, options.helo.size() - 2)))) {
        throw std::invalid_argument("helo: \"" + printable(options.helo, 100) +
                                    "\" is neither a host name nor an address in brackets");
    }
    auto recipient = mailbox::parse(options.rcptto);
    if (recipient) {
        prepared.ask = to_question(options, std::move(*recipient));
    } else {
        prepared.answer =
            impossible('"' + printable_utf8(options.rcptto, 100) + "\" is not a mailbox");
    }
    return prepared;
}

query_result query(const query_options& options) {
    const auto begin = std::chrono::steady_clock::now();
    query_result result;
    auto prepared = prepare(options);
    if (!prepared.ask) {
        result.verdict = std::move(prepared.answer);
        return result;
    }
    asio::io_context loop(1);
    dns::ares_resolver resolver(loop.get_executor(), dns::resolver_options{});
    reach r = this_host();
    if (options.host.empty()) r.deny = default_deny();
    session_limits limits;
    limits.idle_session = std::chrono::milliseconds{0};
    limits.connections_per_host = 0;  // it has one; and in the child of a fork no lock is taken
    call_forward forward(loop.get_executor(), resolver, std::move(r), limits);
    auto call = forward.verify(std::move(*prepared.ask));
    asio::co_spawn(loop, std::move(call), [&](const std::exception_ptr& thrown, verdict v) {
        // What is left to do, a goodbye, is not worth the caller's time.
        loop.stop();
        if (thrown) std::rethrow_exception(thrown);
        result.verdict = std::move(v);
    });
    loop.run();
    result.elapsed = std::chrono::duration_cast<std::chrono::milliseconds>(
        std::chrono::steady_clock::now() - begin);
    return result;
}

}  // namespace callforward::smtpclient
