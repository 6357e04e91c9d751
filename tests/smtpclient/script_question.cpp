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

opening::options opening_options_of(const script& s) {
    opening::options options;
    options.helo = s.setting("helo", "client.test");
    options.protocol = protocol_of(s);
    options.tls = tls_of(s);
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
    by.tls = tls_of(s);
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
    bool rcpt_said = false;
    for (std::size_t i = 0; i < s.steps.size(); ++i) {
        const script_step& step = s.steps[i];
        const bool bare = step.kind == step_kind::tls;
        if (step.kind == step_kind::server) {
            if (!is_reply_line(step.text) || owed.stages.empty()) return 0;
        } else if (step.kind == step_kind::client) {
            rcpt_said = rcpt_said || step.text.starts_with("RCPT");
        } else if (!bare) {
            return 0;
        }
        owed.take(s, step);
        if (rcpt_said && owed.stages.empty()) return s.result.stage == "rcpt" ? i + 1 : 0;
    }
    return 0;
}

}  // namespace callforward::testing
