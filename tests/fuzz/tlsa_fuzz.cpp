// TLSA records and what they make of a host's plan: what counts as usable, OpenSSL takes; a plan
// never demands less than before, proves by usable records only, and has a fault where dane-only
// finds none.
#include "smtpclient/certificate.h"
#include "smtpclient/tls_plan.h"
#include "tests/fuzz/input.h"

#include <openssl/err.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <cstdlib>
#include <memory>

using namespace callforward;
using namespace callforward::smtpclient;

namespace {

std::vector<dns::tlsa> records_from(fuzz::input& from) {
    std::vector<dns::tlsa> records;
    while (!from.empty()) {
        dns::tlsa r;
        r.usage = from.byte();
        r.selector = from.byte();
        r.matching = from.byte();
        std::size_t size = from.byte();
        constexpr std::size_t long_data = 255;
        if (size == long_data) size = 256 + from.byte() * std::size_t{4};
        for (; size > 0 && !from.empty(); --size) r.data.push_back(from.byte());
        records.push_back(std::move(r));
        // The same again: some have hundreds.
        if (records.size() == 1 && from.flag()) records.insert(records.end(), 99, records[0]);
    }
    return records;
}

using ssl_ptr = std::unique_ptr<SSL, decltype(&SSL_free)>;

// As smtpclient/tls_context does it.
ssl_ptr ssl_with_dane() {
    static const std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context(
        SSL_CTX_new(TLS_client_method()), &SSL_CTX_free);
    static const bool enabled = SSL_CTX_dane_enable(context.get()) == 1;
    ssl_ptr ssl(SSL_new(context.get()), &SSL_free);
    if (!enabled || !ssl || SSL_dane_enable(ssl.get(), "mx.test") != 1) std::abort();
    return ssl;
}

bool takes(const ssl_ptr& ssl, const dns::tlsa& r) {
    const int taken =
        SSL_dane_tlsa_add(ssl.get(), r.usage, r.selector, r.matching, r.data.data(), r.data.size());
    ERR_clear_error();
    return taken == 1;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    fuzz::input from(data, size);
    target t;
    t.name = "mx.test";
    t.nexthop = from.flag() ? "next.test" : "";
    t.nexthop_counts = from.flag();
    tls_policy policy;
    policy.level = from.one_of(tls_level::secure);
    const auto records = records_from(from);
    std::size_t usable = 0;
    ssl_ptr ssl(nullptr, &SSL_free);  // slow to make: only where there is something to show it
    for (const auto& r : records) {
        if (!is_usable(r)) continue;
        ++usable;
        if (r.usage != 2 && r.usage != 3) std::abort();
        if (!ssl) ssl = ssl_with_dane();
        if (!takes(ssl, r)) std::abort();
    }
    const tls_plan before = plan_tls(policy, t, "own.test");
    if (!may_rise_to_dane(before.level) || records.empty()) return 0;
    const tls_plan after = by_tlsa(before, records, t, "mx.test");
    if (after.level == tls_level::none || after.level == tls_level::may) std::abort();
    if ((after.level == tls_level::dane) != (usable > 0)) std::abort();
    if (usable == 0) {
        if (after.demand.by != tls_demand::proof::none || !after.demand.records.empty())
            std::abort();
        if (after.fault.empty() == (before.level == tls_level::dane_only)) std::abort();
        return 0;
    }
    constexpr std::size_t most = 64;
    if (!after.fault.empty() || after.demand.by != tls_demand::proof::dane) std::abort();
    if (after.demand.records.size() != std::min(usable, most)) std::abort();
    for (const auto& r : after.demand.records) {
        if (!is_usable(r)) std::abort();
    }
    const bool both = t.nexthop_counts && !t.nexthop.empty();
    if (after.demand.names.size() != (both ? 2U : 1U)) std::abort();
    return 0;
}
