// The rules of test-smtp-server: which reply a command gets, as a text file. Pure.
//
// One rule a line, first match wins, "#" begins a comment line, "*" in a pattern matches any run,
// case does not count:
//   greeting | ehlo-reply | helo-reply | starttls | data | message | rset | quit   ANSWER
//   mail PATTERN ANSWER    rcpt PATTERN ANSWER     on the address without brackets; "<>" is the
//   null sender command PATTERN ANSWER                         on a whole command line, before
//   anything else extension NAME [PARAMETERS]                    offered to EHLO
// ANSWER = [DELAY MILLISECONDS] (CODE TEXT | RAW BYTES | CLOSE | RESET | STALL). Texts know the
// escapes of script.h, and %r recipient, %s sender, %% percent. RAW sends exactly its bytes, CODE
// TEXT adds CRLF. Errors: script_error.
#pragma once

#include <chrono>
#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace callforward::testing {

enum class rule_verb {
    greeting,
    ehlo_reply,
    helo_reply,
    starttls,
    data,
    message,
    rset,
    quit,
    mail,
    rcpt,
    command,
};
enum class rule_action { reply, close, reset, stall };

struct smtp_rule {
    rule_verb verb = rule_verb::greeting;
    std::string pattern = "*";
    std::chrono::milliseconds delay{0};
    rule_action action = rule_action::reply;
    std::string reply;  // bytes with line end, before expansion
};

class smtp_rules {
public:
    [[nodiscard]] static smtp_rules parse(std::string_view text, std::string_view file);
    [[nodiscard]] static smtp_rules load(const std::filesystem::path& file);

    // Null when no rule says anything about it.
    [[nodiscard]] const smtp_rule* find(rule_verb verb, std::string_view subject = {}) const;
    [[nodiscard]] const std::vector<std::string>& extensions() const { return extensions_; }
    [[nodiscard]] bool offers(std::string_view extension) const;

private:
    std::vector<smtp_rule> rules_;
    std::vector<std::string> extensions_;
};

[[nodiscard]] bool glob_matches(std::string_view pattern, std::string_view text);
[[nodiscard]] std::string expand(std::string_view reply,
                                 std::string_view sender,
                                 std::string_view recipient);

}  // namespace callforward::testing
