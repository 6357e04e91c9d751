#include "smtpclient/host_key.h"

#include "smtpclient/auth.h"
#include "smtpclient/local_rules.h"
#include "smtpclient/tls_plan.h"

#include <functional>

namespace callforward::smtpclient {

std::string host_key(const target& t, const question& q, const std::string& helo) {
    const transport& by = *q.by;
    std::string key =
        t.name + '|' + (t.literal ? t.literal->text() : std::string{}) + '|' + t.socket_path;
    for (const long number : {static_cast<long>(t.protocol),
                              static_cast<long>(t.port),
                              static_cast<long>(t.from_mx),
                              static_cast<long>(t.literal_was_configured),
                              static_cast<long>(by.timeout.count()),
                              static_cast<long>(by.connect_timeout.count()),
                              static_cast<long>(by.reply_timeout.count()),
                              static_cast<long>(by.xclient),
                              static_cast<long>(by.proxy_protocol),
                              static_cast<long>(by.probe_until)}) {
        key += '|';
        key += std::to_string(number);
    }
    key += '|' + by.tls.text();
    if (may_rise_to_dane(by.tls.level)) key += t.secure_way ? "|s" : "|i";
    if (t.sts != sts_policy::mode::none)
        key += t.sts == sts_policy::mode::enforce ? "|sts" : "|sts testing";
    if (by.tls.asks_for_nexthop() || t.nexthop_counts) key += '|' + t.nexthop;
    if (t.nexthop_counts && !t.nexthop_canonical.empty()) key += '|' + t.nexthop_canonical;
    for (const auto& own : by.source_addresses) key += '|' + own.text();
    // What a host says to an opening is classified once, for all who wait for it.
    if (!by.rules.empty()) {
        key += "|rules " + std::to_string(std::hash<std::string>{}(text_of(by.rules)));
    }
    // No secret in a key, which is shown.
    if (by.login.wanted()) {
        const auto hash = std::hash<std::string>{}(plain_response(by.login));
        key += "|auth " + std::to_string(hash);
    }
    return key + '|' + helo;
}

}  // namespace callforward::smtpclient
