#include "tests/support/script.h"

#include <algorithm>
#include <array>
#include <fstream>
#include <iterator>
#include <optional>
#include <utility>

namespace callforward::testing {

namespace {

constexpr std::size_t largest_script = 1'048'576;

struct known_setting {
    std::string_view key;
    std::string_view values;  // "|a|b|"; "" takes anything, "0" a number
};
constexpr std::array known_settings{
    known_setting{"tls", "|none|may|encrypt|"},
    known_setting{"sender", ""},
    known_setting{"original_sender", "|true|false|"},
    known_setting{"rcpt", ""},
    known_setting{"helo", ""},
    known_setting{"protocol", "|smtp|smtps|lmtp|"},
    known_setting{"size", "0"},
    known_setting{"body", ""},
    known_setting{"smtputf8", "|true|false|"},
    known_setting{"sender_fallback", ""},
    known_setting{"auth_username", ""},
    known_setting{"auth_password", ""},
    known_setting{"client_addr", ""},
    known_setting{"client_name", ""},
    known_setting{"client_port", "0"},
    known_setting{"client_helo", ""},
    known_setting{"probe_until", "|rcpt|data|"},
};

constexpr std::array<std::pair<std::string_view, step_kind>, 6> bare_steps{{
    {"TLS", step_kind::tls},
    {"TLS garbage", step_kind::tls_garbage},
    {"CLOSE", step_kind::close},
    {"RESET", step_kind::reset},
    {"STALL", step_kind::stall},
    {"NEXT", step_kind::next},
}};

std::string_view trim(std::string_view text) {
    const auto first = text.find_first_not_of(" \t");
    if (first == std::string_view::npos) return {};
    return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

std::optional<unsigned> hex_digit(char c) {
    constexpr std::string_view digits = "0123456789abcdef";
    const auto at = digits.find(c >= 'A' && c <= 'F' ? static_cast<char>(c - 'A' + 'a') : c);
    if (at == std::string_view::npos) return std::nullopt;
    return static_cast<unsigned>(at);
}

bool is_word(std::string_view text) {
    return !text.empty() && text.find_first_not_of("abcdefghijklmnopqrstuvwxyz_0123456789") ==
                                std::string_view::npos;
}

// Holds the place of the line being parsed, so that every complaint can name it.
class parser {
public:
    parser(std::string_view text, std::string_view file) : text_(text), file_(file) {}

    script parse() {
        script parsed;
        parsed.name = std::filesystem::path(file_).stem().string();
        std::string_view rest = text_;
        while (!rest.empty()) {
            const auto end = std::min(rest.find('\n'), rest.size());
            ++line_;
            take(parsed, rest.substr(0, end));
            rest.remove_prefix(std::min(end + 1, rest.size()));
        }
        if (!finished_) fail("no result line (= outcome reason stage) at the end");
        return parsed;
    }

private:
    [[noreturn]] void fail(std::string_view what) const { throw script_error(file_, line_, what); }

    void take(script& into, std::string_view line) {
        const auto control = [](char c) {
            return (c != '\t' && static_cast<unsigned char>(c) < 0x20) || c == 0x7f;
        };
        if (std::any_of(line.begin(), line.end(), control)) {
            fail("a control character: write it as \\r, \\n, \\0 or \\xHH");
        }
        if (line.starts_with('#') || trim(line).empty()) return;
        if (finished_) fail("a line after the result");
        if (line.starts_with("? ")) {
            take_setting(into, line.substr(2));
        } else if (line.starts_with("= ")) {
            take_result(into, line.substr(2));
        } else {
            into.steps.push_back(step_of(line));
        }
    }

    void take_setting(script& into, std::string_view line) const {
        if (!into.steps.empty()) fail("a setting after the first step");
        const auto equals = line.find('=');
        if (equals == std::string_view::npos) fail("a setting is written ? key = value");
        const std::string key{trim(line.substr(0, equals))};
        const std::string value{trim(line.substr(equals + 1))};
        const auto known = std::find_if(known_settings.begin(),
                                        known_settings.end(),
                                        [&](const known_setting& s) { return s.key == key; });
        if (known == known_settings.end()) fail("unknown setting " + key);
        const bool number = known->values == "0";
        const bool valid =
            known->values.empty() ||
            (number ? !value.empty() && value.find_first_not_of("0123456789") == std::string::npos
                    : known->values.find("|" + value + "|") != std::string::npos);
        if (!valid) fail("the setting " + key + " can not be \"" + value + "\"");
        if (!into.settings.emplace(key, value).second) fail("the setting " + key + " comes twice");
    }

    void take_result(script& into, std::string_view line) {
        std::vector<std::string> words;
        std::string_view rest = trim(line);
        while (!rest.empty()) {
            const auto end = std::min(rest.find_first_of(" \t"), rest.size());
            words.emplace_back(rest.substr(0, end));
            rest = trim(rest.substr(end));
        }
        if (words.size() != 3 || !std::all_of(words.begin(), words.end(), is_word)) {
            fail("a result is written = outcome reason stage");
        }
        if (words[0] != "deliverable" && words[0] != "undeliverable" &&
            words[0] != "undetermined") {
            fail("the outcome is deliverable, undeliverable or undetermined, not " + words[0]);
        }
        into.result = {words[0], words[1], words[2]};
        finished_ = true;
    }

    [[nodiscard]] script_step step_of(std::string_view line) const {
        script_step step;
        step.line = line_;
        for (const auto& [word, kind] : bare_steps) {
            if (trim(line) != word) continue;
            step.kind = kind;
            return step;
        }
        const auto colon = line.find(':');
        const auto who = line.substr(0, std::min(colon, line.size()));
        if (colon == std::string_view::npos || (who != "S" && who != "S<" && who != "C")) {
            fail("not a step");
        }
        auto text = line.substr(colon + 1);
        if (text.starts_with(' ')) text.remove_prefix(1);
        if (who == "C") {
            step.kind = step_kind::client;
            step.any_rest = text.ends_with('*');
            if (step.any_rest) text.remove_suffix(1);
            step.text = text;
            return step;
        }
        try {
            step.text = unescape(text);
        } catch (const std::invalid_argument& problem) {
            fail(problem.what());
        }
        if (who == "S") step.text += "\r\n";
        return step;
    }

    std::string_view text_;
    std::string_view file_;
    std::size_t line_ = 0;
    bool finished_ = false;
};

}  // namespace

script_error::script_error(std::string_view file, std::size_t line, std::string_view what)
    : std::runtime_error(std::string(file) + ":" + std::to_string(line) + ": " +
                         std::string(what)) {}

std::string script_step::source() const {
    if (kind == step_kind::client) return "C: " + escape(text) + (any_rest ? "*" : "");
    if (kind == step_kind::server) {
        if (!text.ends_with("\r\n")) return "S<: " + escape(text);
        return "S: " + escape(std::string_view(text).substr(0, text.size() - 2));
    }
    for (const auto& [word, bare] : bare_steps) {
        if (bare == kind) return std::string(word);
    }
    return {};
}

std::string script::setting(const std::string& key, std::string_view otherwise) const {
    const auto found = settings.find(key);
    return found == settings.end() ? std::string(otherwise) : found->second;
}

bool matches(const script_step& step, std::string_view line) {
    if (step.any_rest) return line.starts_with(step.text);
    return line == step.text;
}

script parse_script(std::string_view text, std::string_view file) {
    return parser(text, file).parse();
}

script load_script(const std::filesystem::path& file) {
    std::ifstream in(file, std::ios::binary);
    if (!in) throw script_error(file.string(), 0, "can not be read");
    const std::string text{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
    if (text.size() > largest_script) throw script_error(file.string(), 0, "too large");
    return parse_script(text, file.string());
}

std::vector<script> load_scripts(const std::filesystem::path& folder) {
    std::vector<std::filesystem::path> files;
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
        if (entry.path().extension() == ".smtp") files.push_back(entry.path());
    }
    if (files.empty()) throw script_error(folder.string(), 0, "no script in this folder");
    std::sort(files.begin(), files.end());
    std::vector<script> scripts;
    scripts.reserve(files.size());
    for (const auto& file : files) scripts.push_back(load_script(file));
    return scripts;
}

std::string unescape(std::string_view text) {
    std::string bytes;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] != '\\') {
            bytes += text[i];
            continue;
        }
        const char c = ++i < text.size() ? text[i] : '\n';
        if (c == 'r') {
            bytes += '\r';
        } else if (c == 'n') {
            bytes += '\n';
        } else if (c == 't') {
            bytes += '\t';
        } else if (c == '0') {
            bytes += '\0';
        } else if (c == '\\') {
            bytes += '\\';
        } else if (c == 'x' && i + 2 < text.size() && hex_digit(text[i + 1]) &&
                   hex_digit(text[i + 2])) {
            bytes += static_cast<char>(*hex_digit(text[i + 1]) * 16 + *hex_digit(text[i + 2]));
            i += 2;
        } else {
            throw std::invalid_argument("unknown escape; known are \\r \\n \\t \\0 \\xHH \\\\");
        }
    }
    return bytes;
}

std::string escape(std::string_view bytes) {
    constexpr std::string_view digits = "0123456789abcdef";
    std::string text;
    for (const char c : bytes) {
        const auto byte = static_cast<unsigned char>(c);
        if (c == '\\') {
            text += "\\\\";
        } else if (c == '\r') {
            text += "\\r";
        } else if (c == '\n') {
            text += "\\n";
        } else if (c == '\t') {
            text += "\\t";
        } else if (byte < 0x20 || byte > 0x7e) {
            text += "\\x";
            text += digits[byte / 16];
            text += digits[byte % 16];
        } else {
            text += c;
        }
    }
    return text;
}

}  // namespace callforward::testing
