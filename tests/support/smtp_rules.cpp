#include "tests/support/smtp_rules.h"

#include "tests/support/script.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <utility>

namespace callforward::testing {

namespace {

constexpr std::array<std::pair<std::string_view, rule_verb>, 11> verbs{{
    {"greeting", rule_verb::greeting},
    {"ehlo-reply", rule_verb::ehlo_reply},
    {"helo-reply", rule_verb::helo_reply},
    {"starttls", rule_verb::starttls},
    {"data", rule_verb::data},
    {"message", rule_verb::message},
    {"rset", rule_verb::rset},
    {"quit", rule_verb::quit},
    {"mail", rule_verb::mail},
    {"rcpt", rule_verb::rcpt},
    {"command", rule_verb::command},
}};

bool has_pattern(rule_verb verb) {
    return verb == rule_verb::mail || verb == rule_verb::rcpt || verb == rule_verb::command;
}

char folded(char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

bool same(std::string_view a, std::string_view b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](char x, char y) {
        return folded(x) == folded(y);
    });
}

std::string_view take_word(std::string_view& line) {
    const auto begin = std::min(line.find_first_not_of(" \t"), line.size());
    line.remove_prefix(begin);
    const auto word = line.substr(0, std::min(line.find_first_of(" \t"), line.size()));
    line.remove_prefix(word.size());
    line.remove_prefix(std::min(line.find_first_not_of(" \t"), line.size()));
    return word;
}

void parse_answer(smtp_rule& rule, std::string_view line) {
    std::string_view rest = line;
    auto word = take_word(rest);
    if (word == "DELAY") {
        const auto number = take_word(rest);
        unsigned milliseconds = 0;
        const auto [end, error] =
            std::from_chars(number.data(), number.data() + number.size(), milliseconds);
        if (error != std::errc() || end != number.data() + number.size()) {
            throw std::invalid_argument("DELAY needs milliseconds");
        }
        rule.delay = std::chrono::milliseconds(milliseconds);
        line = rest;
        word = take_word(rest);
    }
    if (word == "CLOSE" || word == "RESET" || word == "STALL") {
        if (!rest.empty()) throw std::invalid_argument("nothing may follow CLOSE, RESET or STALL");
        rule.action = word == "CLOSE"   ? rule_action::close
                      : word == "RESET" ? rule_action::reset
                                        : rule_action::stall;
        return;
    }
    if (word == "RAW") {
        rule.reply = unescape(rest);
        return;
    }
    const bool code = word.size() >= 3 && word.find_first_not_of("0123456789") >= 3;
    if (!code) throw std::invalid_argument("an answer is CODE TEXT, RAW, CLOSE, RESET or STALL");
    rule.reply = unescape(line) + "\r\n";
}

}  // namespace

smtp_rules smtp_rules::parse(std::string_view text, std::string_view file) {
    smtp_rules parsed;
    for (std::size_t number = 1; !text.empty(); ++number) {
        const auto end = std::min(text.find('\n'), text.size());
        std::string_view line = text.substr(0, end);
        text.remove_prefix(std::min(end + 1, text.size()));
        const auto word = take_word(line);
        if (word.empty() || word.starts_with('#')) continue;
        if (word == "extension") {
            if (line.empty()) throw script_error(file, number, "an extension needs a name");
            parsed.extensions_.emplace_back(line);
            continue;
        }
        const auto verb = std::find_if(
            verbs.begin(), verbs.end(), [&](const auto& known) { return known.first == word; });
        if (verb == verbs.end()) {
            throw script_error(file, number, "unknown rule " + escape(word));
        }
        smtp_rule rule;
        rule.verb = verb->second;
        if (has_pattern(rule.verb)) rule.pattern = take_word(line);
        try {
            parse_answer(rule, line);
        } catch (const std::invalid_argument& problem) {
            throw script_error(file, number, problem.what());
        }
        parsed.rules_.push_back(std::move(rule));
    }
    return parsed;
}

smtp_rules smtp_rules::load(const std::filesystem::path& file) {
    std::ifstream in(file, std::ios::binary);
    if (!in) throw script_error(file.string(), 0, "can not be read");
    const std::string text{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
    return parse(text, file.string());
}

const smtp_rule* smtp_rules::find(rule_verb verb, std::string_view subject) const {
    for (const auto& rule : rules_) {
        if (rule.verb == verb && glob_matches(rule.pattern, subject)) return &rule;
    }
    return nullptr;
}

bool smtp_rules::offers(std::string_view extension) const {
    return std::any_of(extensions_.begin(), extensions_.end(), [&](std::string_view offered) {
        return same(offered.substr(0, offered.find_first_of(" \t")), extension);
    });
}

bool glob_matches(std::string_view pattern, std::string_view text) {
    std::size_t p = 0;
    std::size_t t = 0;
    std::size_t star =
        std::string_view::npos;  // the last * seen, and how much of text it has taken
    std::size_t taken = 0;
    while (t < text.size()) {
        if (p < pattern.size() && pattern[p] == '*') {
            star = p++;
            taken = t;
        } else if (p < pattern.size() && folded(pattern[p]) == folded(text[t])) {
            ++p;
            ++t;
        } else if (star != std::string_view::npos) {
            p = star + 1;
            t = ++taken;
        } else {
            return false;
        }
    }
    return pattern.find_first_not_of('*', p) == std::string_view::npos;
}

std::string expand(std::string_view reply, std::string_view sender, std::string_view recipient) {
    std::string text;
    for (std::size_t i = 0; i < reply.size(); ++i) {
        const char next = reply[i] == '%' && i + 1 < reply.size() ? reply[i + 1] : '\0';
        if (next == 'r') {
            text += recipient;
        } else if (next == 's') {
            text += sender;
        } else if (next == '%') {
            text += '%';
        } else {
            text += reply[i];
            continue;
        }
        ++i;
    }
    return text;
}

}  // namespace callforward::testing
