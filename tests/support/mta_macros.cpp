#include "tests/support/mta.h"

#include <algorithm>

namespace callforward::testing {

namespace {

// What each MTA sends when the filter asks for nothing (MTA documentation; seen with a tracing
// filter).
std::vector<std::string> default_symbols(mta_kind kind, milter_stage stage) {
    const bool postfix = kind == mta_kind::postfix;
    const std::vector<std::string> tls{
        "{tls_version}", "{cipher}", "{cipher_bits}", "{cert_subject}", "{cert_issuer}"};
    switch (stage) {
        case milter_stage::connect:
            if (postfix) return {"j", "{daemon_name}", "{daemon_addr}", "v", "_"};
            return {"_", "j", "{daemon_name}", "{if_name}", "{if_addr}"};
        case milter_stage::helo:
            return tls;
        case milter_stage::mail:
            if (postfix) {
                return {"i",
                        "{auth_type}",
                        "{auth_authen}",
                        "{auth_author}",
                        "{mail_addr}",
                        "{mail_host}",
                        "{mail_mailer}"};
            }
            return {"i",
                    "{auth_type}",
                    "{auth_authen}",
                    "{auth_ssf}",
                    "{auth_author}",
                    "{mail_mailer}",
                    "{mail_host}",
                    "{mail_addr}"};
        case milter_stage::rcpt:
            if (postfix) return {"i", "{rcpt_addr}", "{rcpt_host}", "{rcpt_mailer}"};
            return {"{rcpt_mailer}", "{rcpt_host}", "{rcpt_addr}"};
        case milter_stage::data:
        case milter_stage::end_of_headers:
            return postfix ? std::vector<std::string>{"i"} : std::vector<std::string>{};
        case milter_stage::end_of_message:
            return postfix ? std::vector<std::string>{"i"} : std::vector<std::string>{"{msg_id}"};
    }
    return {};
}

// "{rcpt_addr}" and "rcpt_addr" are the same name, "i" and "{i}" too.
std::string bare(const std::string& name) {
    const bool braces = name.size() > 2 && name.front() == '{' && name.back() == '}';
    return braces ? name.substr(1, name.size() - 2) : name;
}

}  // namespace

macro_map mta::usual_macros(milter_stage stage, const macro_map& known) const {
    const auto asked = negotiated_.symbols.find(stage);
    const auto names =
        asked != negotiated_.symbols.end() ? asked->second : default_symbols(kind_, stage);
    macro_map chosen;
    for (const auto& [name, value] : known) {
        const auto same = [&](const std::string& other) { return bare(other) == bare(name); };
        if (std::any_of(names.begin(), names.end(), same)) chosen.emplace(name, value);
    }
    return chosen;
}

}  // namespace callforward::testing
