#include "tests/support/next_hop_session.h"

#include "tests/support/script.h"

#include <algorithm>

namespace callforward::testing {

namespace {

std::string upper(std::string_view text) {
    std::string result(text);
    for (char& c : result) {
        if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
    }
    return result;
}

// "FROM:<a@b> SIZE=1" to "a@b". Brackets may be missing; a '>' in a quoted local part does not end
// the path.
std::string address_of(std::string_view argument) {
    argument.remove_prefix(std::min(argument.find(':') + 1, argument.size()));
    argument.remove_prefix(std::min(argument.find_first_not_of(' '), argument.size()));
    const bool brackets = argument.starts_with('<');
    if (brackets) argument.remove_prefix(1);
    bool quoted = false;
    for (std::size_t i = 0; i < argument.size(); ++i) {
        if (argument[i] == '\\' && quoted) {
            ++i;
        } else if (argument[i] == '"') {
            quoted = !quoted;
        } else if (!quoted && argument[i] == (brackets ? '>' : ' ')) {
            return std::string(argument.substr(0, i));
        }
    }
    return std::string(argument);
}

std::string shown(const std::string& address) {
    return address.empty() ? "<>" : escape(address);
}

}  // namespace

next_hop_answer next_hop_session::answer(const smtp_rule* rule, std::string_view otherwise) const {
    next_hop_answer made;
    if (rule == nullptr) {
        made.bytes = otherwise;
        return made;
    }
    made.delay = rule->delay;
    switch (rule->action) {
        case rule_action::reply:
            made.bytes = expand(rule->reply, sender_, recipient_);
            break;
        case rule_action::close:
            made.then = what::close;
            break;
        case rule_action::reset:
            made.then = what::reset;
            break;
        case rule_action::stall:
            made.then = what::stall;
            break;
    }
    // RFC 5321 section 3.8: 421 announces that the server closes.
    if (made.bytes.starts_with("421")) made.then = what::close;
    return made;
}

next_hop_answer next_hop_session::greeting(const smtp_rules& rules) const {
    return answer(rules.find(rule_verb::greeting), "220 mx.next.test ESMTP\r\n");
}

void next_hop_session::tls_started() {
    tls_ = true;
    greeted_ = false;
    end_transaction();
}

void next_hop_session::end_transaction() {
    mail_given_ = false;
    recipients_ = 0;
    sender_.clear();
    recipient_.clear();
}

next_hop_answer next_hop_session::line(const smtp_rules& rules, std::string_view line) {
    if (in_content_) return content(rules, line);
    if (const smtp_rule* rule = rules.find(rule_verb::command, line)) {
        auto made = answer(rule, {});
        made.event = "command " + escape(line);
        return made;
    }
    const auto space = std::min(line.find(' '), line.size());
    const std::string verb = upper(line.substr(0, space));
    const auto argument = line.substr(std::min(space + 1, line.size()));
    if (verb == "EHLO" || verb == "HELO" || verb == "LHLO") return hello(rules, verb, argument);
    if (verb == "MAIL") return mail(rules, argument);
    if (verb == "RCPT") return rcpt(rules, argument);
    if (verb == "DATA") return data(rules);
    if (verb == "RSET") {
        end_transaction();
        auto made = answer(rules.find(rule_verb::rset), "250 2.0.0 ok\r\n");
        made.event = "rset";
        return made;
    }
    if (verb == "NOOP") return answer(nullptr, "250 2.0.0 ok\r\n");
    if (verb == "QUIT") {
        auto made = answer(rules.find(rule_verb::quit), "221 2.0.0 bye\r\n");
        if (made.then == what::go_on) made.then = what::close;
        made.event = "quit";
        return made;
    }
    if (verb == "STARTTLS" && !tls_ && rules.offers("STARTTLS")) {
        auto made = answer(rules.find(rule_verb::starttls), "220 2.0.0 go ahead\r\n");
        if (made.then == what::go_on && made.bytes.starts_with("220")) made.then = what::start_tls;
        made.event = "starttls";
        return made;
    }
    auto made = answer(nullptr, "502 5.5.1 unknown command\r\n");
    made.event = "unknown " + escape(line);
    return made;
}

next_hop_answer next_hop_session::hello(const smtp_rules& rules,
                                        std::string_view verb,
                                        std::string_view name) {
    std::string reply = "250 mx.next.test\r\n";
    const bool extended = verb != "HELO";
    std::vector<std::string> offered = extended ? rules.extensions() : std::vector<std::string>{};
    if (tls_) {
        std::erase_if(offered,
                      [](const std::string& e) { return upper(e).starts_with("STARTTLS"); });
    }
    if (!offered.empty()) {
        reply[3] = '-';
        for (const auto& extension : offered) {
            reply += (&extension == &offered.back() ? "250 " : "250-") + extension + "\r\n";
        }
    }
    auto made = answer(rules.find(extended ? rule_verb::ehlo_reply : rule_verb::helo_reply), reply);
    greeted_ = greeted_ || made.bytes.starts_with('2');
    lmtp_ = verb == "LHLO";
    end_transaction();
    made.event = std::string(extended ? "ehlo " : "helo ") + escape(name);
    return made;
}

next_hop_answer next_hop_session::mail(const smtp_rules& rules, std::string_view argument) {
    if (!greeted_ || mail_given_) return answer(nullptr, "503 5.5.1 bad sequence of commands\r\n");
    sender_ = address_of(argument);
    auto made =
        answer(rules.find(rule_verb::mail, sender_.empty() ? "<>" : sender_), "250 2.1.0 ok\r\n");
    mail_given_ = made.bytes.starts_with('2');
    made.event = "mail " + shown(sender_);
    return made;
}

next_hop_answer next_hop_session::rcpt(const smtp_rules& rules, std::string_view argument) {
    if (!mail_given_) return answer(nullptr, "503 5.5.1 MAIL first\r\n");
    recipient_ = address_of(argument);
    auto made = answer(rules.find(rule_verb::rcpt, recipient_), "250 2.1.5 ok\r\n");
    if (made.bytes.starts_with('2')) ++recipients_;
    std::string code = made.bytes.substr(0, 3);
    if (made.bytes.empty()) code = made.then == what::stall ? "STALL" : "CLOSE";
    made.event = "rcpt " + shown(recipient_) + " " + escape(code);
    return made;
}

next_hop_answer next_hop_session::data(const smtp_rules& rules) {
    const std::string_view otherwise =
        recipients_ == 0 ? "554 5.5.1 no valid recipients\r\n" : "354 end with a dot\r\n";
    auto made = answer(rules.find(rule_verb::data), otherwise);
    in_content_ = made.bytes.starts_with("354");
    made.event = "data";
    return made;
}

next_hop_answer next_hop_session::content(const smtp_rules& rules, std::string_view line) {
    if (line != ".") return {};
    in_content_ = false;
    auto made = accept_data_ ? answer(rules.find(rule_verb::message), "250 2.0.0 accepted\r\n")
                             : answer(nullptr, "554 5.3.2 this server takes no mail\r\n");
    if (lmtp_) {  // one reply for each accepted recipient (RFC 2033 section 4.2)
        const std::string one = made.bytes;
        for (std::size_t i = 1; i < recipients_; ++i) made.bytes += one;
    }
    end_transaction();
    made.event = accept_data_ ? "message" : "content";
    return made;
}

}  // namespace callforward::testing
