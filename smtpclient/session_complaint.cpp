#include "smtpclient/session_complaint.h"

#include "smtpclient/printable.h"

#include <algorithm>
#include <array>
#include <string_view>

namespace callforward::smtpclient {

namespace {

// Whole words, each with a blank before and after it.
constexpr auto words_of_session = std::to_array<std::string_view>({" session ",
                                                                   " sessions ",
                                                                   " connection ",
                                                                   " connections ",
                                                                   " transaction ",
                                                                   " transactions ",
                                                                   " too many ",
                                                                   " maximum ",
                                                                   " max ",
                                                                   " limit ",
                                                                   " limits ",
                                                                   " exceed ",
                                                                   " exceeds ",
                                                                   " exceeded ",
                                                                   " no more recipients ",
                                                                   " one recipient ",
                                                                   " single recipient ",
                                                                   " one message ",
                                                                   " one mail ",
                                                                   " already specified ",
                                                                   " already given ",
                                                                   " need mail ",
                                                                   " nested "});

// It has limits, too.
constexpr auto words_of_mailbox =
    std::to_array<std::string_view>({" mailbox ", " quota ", " inbox "});

// Lower case, between blanks, without punctuation and without addresses, which may be anything.
std::string words_of(const reply& r) {
    const std::string text = to_lower(r.text());
    std::string words = " ";
    std::string word;
    const auto end_word = [&] {
        if (!word.empty() && word.find('@') == std::string::npos) words += word + ' ';
        word.clear();
    };
    for (const char c : text) {
        if (c == ' ') {
            end_word();
        } else if (std::string_view(".,:;!?()[]<>\"'").find(c) == std::string_view::npos) {
            word += c;
        }
    }
    end_word();
    return words;
}

template <std::size_t n>
bool has_any(const std::string& words, const std::array<std::string_view, n>& of) {
    return std::any_of(
        of.begin(), of.end(), [&](const auto& w) { return words.find(w) != std::string::npos; });
}

}  // namespace

bool is_too_many_recipients(const reply& r) {
    // Without an enhanced code 452 may also be a lack of storage.
    if (r.code != 452) return false;
    if (const auto enhanced = r.enhanced()) return enhanced->subject == 5 && enhanced->detail == 3;
    return contains_ignoring_case(r.text(), "too many recipients");
}

bool speaks_of_session(const reply& r) {
    return has_any(words_of(r), words_of_session);
}

bool may_be_about_session(const reply& r) {
    if (r.status_class() == 2) return false;
    if (r.code == 500 || r.code == 502 || r.code == 503) return true;  // commands out of order
    const std::string words = words_of(r);
    const bool of_mailbox = has_any(words, words_of_mailbox);
    if (const auto enhanced = r.enhanced()) {
        // RFC 3463: of the address, of the mailbox.
        if (enhanced->subject == 1 || enhanced->subject == 2) return false;
        // Of the protocol; but Outlook.com says 5.5.0 of mailboxes that are not there.
        if (enhanced->subject == 5) return enhanced->detail != 0 || !of_mailbox;
    }
    return !of_mailbox && has_any(words, words_of_session);
}

std::string code_and_enhanced(const reply& r) {
    const auto enhanced = r.enhanced();
    return std::to_string(r.code) + (enhanced ? ' ' + to_string(*enhanced) : std::string());
}

}  // namespace callforward::smtpclient
