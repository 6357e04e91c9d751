#include "tests/smtpclient/script_question.h"

#include <algorithm>
#include <deque>
#include <stdexcept>

namespace callforward::testing {

using namespace smtpclient;

namespace {

// "250 text", "250-text" or "250", with its line end: the protocol as RFC 5321 section 4.2 has it.
bool is_reply_line(std::string_view text) {
    const auto digit = [](char c) { return c >= '0' && c <= '9'; };
    return text.size() >= 5 && text.ends_with("\r\n") && text.find('\r') == text.size() - 2 &&
           text[0] >= '2' && text[0] <= '5' && text[1] >= '0' && text[1] <= '5' && digit(text[2]) &&
           (text[3] == ' ' || text[3] == '-' || text[3] == '\r');
}

std::string stage_of_command(std::string_view line) {
    const std::string_view verb = line.substr(0, line.find(' '));
    if (verb == "EHLO" || verb == "LHLO") return "ehlo";
    if (verb == "HELO") return "helo";
    if (verb == "STARTTLS") return "starttls";
    if (verb == "MAIL") return "mail";
    if (verb == "RCPT") return "rcpt";
    if (verb == "XCLIENT") return "xclient";
    if (verb == "DATA") return "data";
    // One word alone goes on with AUTH.
    if (verb == "AUTH" || verb == line) return "auth";
    throw std::invalid_argument("no stage for " + std::string(line));
}

// What replies are owed after some steps of a well-behaved script.
struct owed_replies {
    std::deque<std::string> stages;
    bool in_reply = false;

    explicit owed_replies(const script& s) { begin(s); }
    void begin(const script& s) {
        stages.clear();
        if (protocol_of(s) != protocol::smtps) stages.emplace_back("greeting");
    }
    void take(const script& s, const script_step& step) {
        if (step.kind == step_kind::next) begin(s);
        if (step.kind == step_kind::tls && protocol_of(s) == protocol::smtps) {
            stages.emplace_back("greeting");
        }
        if (step.kind == step_kind::client) stages.push_back(stage_of_command(step.text));
        if (step.kind == step_kind::server && ends_reply(step)) stages.pop_front();
    }
};

}  // namespace

const std::vector<script>& all_scripts() {
    static const auto scripts = load_scripts(CALLFORWARD_TEST_SCRIPTS);
    return scripts;
}

tls_level tls_of(const script& s) {
    return *parse_tls_level(s.setting("tls", "may"));
}

protocol protocol_of(const script& s) {
    const std::string name = s.setting("protocol", "smtp");
    if (name == "lmtp") return protocol::lmtp;
    return name == "smtps" ? protocol::smtps : protocol::smtp;
}

credentials login_of(const script& s) {
    return {s.setting("auth_username", ""), s.setting("auth_password", ""), ""};
}

std::optional<client_identity> client_of(const script& s) {
    const auto address = dns::ip_address::parse(s.setting("client_addr", ""));
    if (!address) return std::nullopt;
    client_identity who;
    who.address = *address;
    who.name = s.setting("client_name", "");
    who.port = static_cast<std::uint16_t>(std::stoul(s.setting("client_port", "0")));
    who.helo = s.setting("client_helo", "");
    return who;
}

std::optional<std::string> fallback_of(const script& s) {
    if (!s.settings.contains("sender_fallback")) return std::nullopt;
    const std::string sender = s.setting("sender_fallback", "");
    return sender == "<>" ? std::string{} : sender;
}

opening::options opening_options_of(const script& s) {
    opening::options options;
    options.helo = s.setting("helo", "client.test");
    options.protocol = protocol_of(s);
    options.tls = tls_of(s);
    options.login = login_of(s);
    options.client = client_of(s);
    return options;
}

question question_of(const script& s) {
    question q;
    q.sender = s.setting("sender", "alice@sender.test");
    q.original_sender = s.setting("original_sender", "true") == "true";
    const auto recipient = mailbox::parse(s.setting("rcpt", "bob@next.test"));
    if (!recipient) throw std::invalid_argument(s.name + ": rcpt is not a mailbox");
    q.recipient = *recipient;
    const std::string size = s.setting("size", "");
    if (!size.empty()) q.parameters.size = std::stoull(size);
    q.parameters.body = s.setting("body", "");
    q.parameters.smtputf8 = s.setting("smtputf8", "false") == "true";
    transport by;
    by.tls.level = tls_of(s);
    by.login = login_of(s);
    by.sender_fallback = fallback_of(s);
    q.client = client_of(s);
    by.xclient = q.client.has_value();
    if (s.setting("probe_until", "rcpt") == "data") by.probe_until = probe_end::data;
    q.by = std::make_shared<const transport>(std::move(by));
    q.helo = s.setting("helo", "client.test");
    return q;
}

std::string in_words(const finding& f, stage at) {
    verdict v;
    v.finding = f;
    std::string words{to_string(v.outcome())};
    words += ' ';
    words += to_string(f.reason);
    words += ' ';
    return words += to_string(at);
}

std::string in_words(const script_result& result) {
    return result.outcome + ' ' + result.reason + ' ' + result.stage;
}

bool has_step(const script& s, step_kind kind) {
    return std::any_of(
        s.steps.begin(), s.steps.end(), [&](const auto& step) { return step.kind == kind; });
}

bool ends_reply(const script_step& step) {
    return step.kind == step_kind::server && step.text.size() > 3 && step.text[3] != '-';
}

std::string stage_after(const script& s, std::size_t steps) {
    owed_replies owed(s);
    for (std::size_t i = 0; i < steps; ++i) owed.take(s, s.steps[i]);
    if (!owed.stages.empty()) return owed.stages.front();
    if (steps == s.steps.size()) return "none";
    // Nothing is owed: the client has gone on to what the script expects of it.
    const script_step& next = s.steps[steps];
    if (next.kind == step_kind::client) return stage_of_command(next.text);
    return next.kind == step_kind::tls ? "handshake" : "none";
}

std::size_t steps_until_answer(const script& s) {
    owed_replies owed(s);
    const std::string deciding = s.result.stage == "data" ? "DATA" : "RCPT";
    bool said = false;
    for (std::size_t i = 0; i < s.steps.size(); ++i) {
        const script_step& step = s.steps[i];
        const bool bare = step.kind == step_kind::tls;
        if (step.kind == step_kind::server) {
            if (!is_reply_line(step.text) || owed.stages.empty()) return 0;
        } else if (step.kind == step_kind::client) {
            said = said || step.text.starts_with(deciding);
        } else if (!bare) {
            return 0;
        }
        owed.take(s, step);
        const bool decided = s.result.stage == "rcpt" || s.result.stage == "data";
        if (said && owed.stages.empty()) return decided ? i + 1 : 0;
    }
    return 0;
}

}  // namespace callforward::testing
